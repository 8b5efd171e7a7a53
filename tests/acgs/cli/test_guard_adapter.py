from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from acgs.cli import jobs
from acgs.cli.main import run

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been run."""
    commands: list[list[str]] = []

    def keep(command: list[str]) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(jobs, "run_to_end", keep)
    return commands


@needs_torch
def test_every_option_of_guard_adapter_reaches_its_job(called: list[list[str]]) -> None:
    from train_jobs.guard_adapter import parse_arguments

    words = ["--data", "sets", "--output", "out", "--config", "run.yaml", "--epsilon", "3.0", "--seed", "7"]
    assert run(["train", "guard-adapter", *words, "--compare", "--check"]) == 0
    [command] = called
    assert command[:3] == [sys.executable, "-m", "train_jobs.guard_adapter"]
    assert parse_arguments(command[3:]) == parse_arguments([*words, "--compare", "--check"])


@needs_torch
def test_every_option_of_sweep_reaches_its_job(called: list[list[str]]) -> None:
    from tune_sweeps.lora import parse_arguments

    words = ["--config", "sweep.yaml", "--output", "out"]
    assert run(["train", "sweep", *words, "--check"]) == 0
    [command] = called
    assert command[:3] == [sys.executable, "-m", "tune_sweeps.lora"]
    assert parse_arguments(command[3:]) == parse_arguments([*words, "--check"])


def test_scoring_with_an_adapter_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("ACGS_SECOND_TIER_ADAPTER", raising=False)
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text('{"text": "You are worthless.", "label": 1}\n', encoding="utf-8")
    assert run(["governance", "score", "--input", str(labelled), "--tier", "adapter"]) == 2
    assert "ACGS_SECOND_TIER_ADAPTER" in capsys.readouterr().err
