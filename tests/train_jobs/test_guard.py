from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from train_jobs.guard import main

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="the extra 'train' is not installed")


def test_a_missing_data_set_ends_the_job_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(tmp_path), "--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("acgs: cannot load 'openai_moderation'")
    assert not (tmp_path / "out").exists()


def test_an_unknown_data_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(tmp_path), "--output", "x", "--work", str(tmp_path / "work"), "--set", "weather"]
    assert main(arguments) == 2
    assert "unknown public set 'weather'" in capsys.readouterr().err
