"""The short forms of fine-tuning write run files that the job accepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from acgs.cli import jobs
from acgs.cli.main import run
from acgs.learning.finetune.config import load_run


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    seen: list[list[str]] = []

    def keep(command: Sequence[str]) -> int:
        seen.append(list(command))
        return 0

    monkeypatch.setattr(jobs, "run_to_end", keep)
    return seen


@pytest.mark.parametrize("form", ["sft", "dapt", "dp"])
def test_each_form_starts_the_job_with_a_run_file_of_its_options(
    form: str, commands: list[list[str]], tmp_path: Path
) -> None:
    output = tmp_path / "My run"
    words = ["train", form, "--base", str(tmp_path / "base"), "--data", str(tmp_path / "data"), "--output", str(output)]
    words += ["--rank", "4", "--workers", "2", "--max-length", "64"]
    assert run(words + (["--population", "clinic", "--epsilon", "3"] if form == "dp" else [])) == 0
    assert commands[0][1:3] == ["-m", "train_jobs.constitutional"]
    config = load_run(output / "run.yaml")
    phase = config.phases[0]
    assert (config.name, config.lora.r, config.workers, phase.max_length) == ("my-run", 4, 2, 64)
    assert config.base_model.path == tmp_path / "base"
    assert (phase.kind, phase.private) == ("dapt" if form == "dapt" else "sft", form == "dp")
    assert (config.privacy.target_epsilon if config.privacy else None) == (3.0 if form == "dp" else None)


def test_a_base_is_downloaded_only_where_that_is_said(commands: list[list[str]], tmp_path: Path) -> None:
    words = ["train", "sft", "--base", "hub:org/model", "--data", "d", "--output", str(tmp_path / "out")]
    assert run(words) == 0
    assert load_run(tmp_path / "out" / "run.yaml").base_model.hub == "org/model"
