"""What is wrong with a file of limits is said in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from acgs.errors import InvalidInputError
from acgs.release.limit_files import read_yaml
from acgs.release.staging.limits import StagingLimits


@pytest.mark.parametrize(("name", "words"), [("absent.yaml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_told_from_one_that_is_no_yaml(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=f"cannot be read: {words}"):
        read_yaml(tmp_path / name, StagingLimits)


@pytest.mark.parametrize("content", [b"limits: [", b"\xff\xfe\xff", b"\x00"])
def test_what_is_no_yaml_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "limits.yaml").write_bytes(content)
    with pytest.raises(InvalidInputError, match="is no readable YAML"):
        read_yaml(tmp_path / "limits.yaml", StagingLimits)


def test_without_a_file_the_defaults_count() -> None:
    assert read_yaml(None, StagingLimits) == StagingLimits()
