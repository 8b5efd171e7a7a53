from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.errors import AcgsError, IntegrityError, InvalidInputError, UnavailableError
from acgs.governance.evaluation import NumberedLine, numbered
from acgs.governance.record_file import RecordFile

PROVENANCE = {"mode": "inline", "constitution_digest": "ab" * 32, "bundle_version": "guard-1"}
INPUT = [b'{"query": "one"}', b"", b'{"query": "two"}', b'{"query": "three"}', b'{"query": "four"}']


def record_of(line: NumberedLine) -> dict[str, Any]:
    return {"line": line.number, "input_sha256": line.digest, "final_decision": "comply", **PROVENANCE}


def run(path: Path, lines: list[bytes], *, at_most: int = 100, provenance: dict[str, str] = PROVENANCE) -> int:
    """Write records as an evaluation does, at most some of them; returns how many were there before."""
    source = numbered(lines)
    with RecordFile(path) as records:
        earlier = len(list(records.resume(source, provenance)))
        for _, line in zip(range(at_most), source, strict=False):
            records.append([record_of(line)])
    return earlier


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    run(tmp_path / "whole", INPUT)
    return (tmp_path / "whole").read_bytes()


def test_there_is_one_record_for_each_line_that_is_not_blank(whole: bytes) -> None:
    assert [orjson.loads(row)["line"] for row in whole.splitlines()] == [1, 3, 4, 5]


@given(cut=st.integers(0, 1000))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_killed_at_any_byte_goes_on_without_losing_or_repeating_a_line(
    tmp_path: Path, whole: bytes, cut: int
) -> None:
    output = tmp_path / "cut"
    output.write_bytes(whole[: min(cut, len(whole))])
    earlier = run(output, INPUT)
    assert earlier == whole[: min(cut, len(whole))].count(b"\n")
    assert output.read_bytes() == whole


def test_a_finished_run_adds_nothing(tmp_path: Path, whole: bytes) -> None:
    assert run(tmp_path / "whole", INPUT) == 4
    assert (tmp_path / "whole").read_bytes() == whole


def test_input_that_grew_at_the_end_is_gone_on_with(tmp_path: Path, whole: bytes) -> None:
    assert run(tmp_path / "whole", [*INPUT, b'{"query": "five"}']) == 4
    assert (tmp_path / "whole").read_bytes().startswith(whole)


@pytest.mark.parametrize(
    "changed",
    [
        [INPUT[2], *INPUT[1:]],
        INPUT[2:],
        [b"", *INPUT],
        INPUT[:3],
        [*INPUT[:4], b'{"query": "fourth"}'],
    ],
)
def test_a_changed_input_is_refused_and_the_output_left_alone(
    tmp_path: Path, whole: bytes, changed: list[bytes]
) -> None:
    with pytest.raises(InvalidInputError, match="input changed"):
        run(tmp_path / "whole", changed)
    assert (tmp_path / "whole").read_bytes() == whole


@pytest.mark.parametrize("name", PROVENANCE)
def test_an_output_begun_under_other_conditions_is_refused(tmp_path: Path, whole: bytes, name: str) -> None:
    with pytest.raises(InvalidInputError, match=name) as caught:
        run(tmp_path / "whole", INPUT, provenance={**PROVENANCE, name: "another"})
    assert caught.value.field == name
    assert (tmp_path / "whole").read_bytes() == whole


@pytest.mark.parametrize("content", [b"dear diary", b"dear diary\n", b'{"a": 1}\n', b"[1]", b"\x00" * 9, b"1\n2\n"])
def test_somebody_elses_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    output = tmp_path / "notes"
    output.write_bytes(content)
    with pytest.raises(InvalidInputError, match="no evaluation output"):
        run(output, INPUT)
    assert output.read_bytes() == content


def test_a_record_damaged_in_the_middle_is_refused(tmp_path: Path, whole: bytes) -> None:
    rows = whole.splitlines(keepends=True)
    (tmp_path / "whole").write_bytes(rows[0] + rows[1][:30] + b"\n" + rows[2])
    with pytest.raises(IntegrityError, match="row 2"):
        run(tmp_path / "whole", INPUT)


def test_a_record_whose_line_is_another_is_refused(tmp_path: Path, whole: bytes) -> None:
    rows = whole.splitlines(keepends=True)
    (tmp_path / "whole").write_bytes(rows[0] + rows[2])
    with pytest.raises(InvalidInputError):
        run(tmp_path / "whole", INPUT)


def test_two_runs_never_write_the_same_file(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "out"), pytest.raises(UnavailableError, match="another run"):
        RecordFile(tmp_path / "out")
    run(tmp_path / "out", INPUT)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AcgsError, match="cannot write"):
        RecordFile(tmp_path / "file" / "out")
