"""`acgs train compare` hands its options to the job."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from acgs.cli import jobs
from acgs.cli.main import run


def test_every_option_reaches_the_job_as_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from train_jobs.compare import parse_arguments

    called: list[list[str]] = []

    def keep(command: Sequence[str]) -> int:
        called.append(list(command))
        return 2

    monkeypatch.setattr(jobs, "run_to_end", keep)
    words = ["--config", str(tmp_path / "compare.yaml"), "--output", "out", "--check", "--json"]
    assert run(["train", "compare", *words]) == 2
    assert called[0][:3] == [sys.executable, "-m", "train_jobs.compare"]
    assert parse_arguments(called[0][3:]) == parse_arguments(words)
    assert run(["train", "compare", *words[:4]]) == 2
    assert not parse_arguments(called[1][3:]).check
