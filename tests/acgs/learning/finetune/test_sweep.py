from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.errors import InvalidInputError
from acgs.learning.finetune.config import RunConfig
from acgs.learning.finetune.sweep import (
    FINISHED,
    STOPPED_EARLY,
    SweepConfig,
    Trial,
    TrialRow,
    best_of,
    best_run_file,
    draw,
    load_sweep,
    trial_plan,
    varied,
)

PRIVACY = {"accountant": "rdp", "target_epsilon": 8.0}


def run_values(**changes: Any) -> dict[str, Any]:
    phase = {"kind": "sft", "data": "data", "batch_size": 10, "private": True, **changes.pop("phase", {})}
    return {
        "name": "test", "base_model": {"path": "base"}, "phases": [phase], "lora": {"r": 8, "alpha": 16},
        "privacy": PRIVACY, **changes,
    }  # fmt: skip


def write(folder: Path, sweep: dict[str, Any], **run: Any) -> Path:
    (folder / "run.yaml").write_text(yaml.safe_dump(run_values(**run)), encoding="utf-8")
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "run": "run.yaml", **sweep}), encoding="utf-8")
    return path


SPACE = {"rank": [2, 4], "noise_multiplier": {"low": 1.0, "high": 2.0}, "max_grad_norm": [0.1, 1.0]}


@pytest.mark.parametrize(
    ("sweep", "run", "message"),
    [
        ({}, {}, "noise_multiplier"),
        ({"space": {**SPACE, "learning_rate": {"low": 2.0, "high": 1.0}}}, {}, "low is above high"),
        ({"space": {**SPACE, "rank": []}}, {}, "space.rank"),
        ({"space": SPACE, "trials": 0}, {}, "trials"),
        ({"space": SPACE, "surprise": 1}, {}, "surprise"),
        ({"space": SPACE}, {"phase": {"private": False}, "privacy": None}, "private runs"),
        ({"tuning_data": "x"}, {"phase": {"private": False}, "privacy": None}, "tuning_data"),
        ({"space": SPACE}, {"phase": {"method": "full"}}, "LoRA"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(
    tmp_path: Path, sweep: dict[str, Any], run: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_sweep(write(tmp_path, sweep, **run))


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    config, run = load_sweep(write(tmp_path, {"space": SPACE, "validation": "public"}))
    assert config.validation == tmp_path / "public"
    assert run.phases[0].data == tmp_path / "data"


def test_trials_are_drawn_from_the_seed_alone_and_lie_in_the_space(tmp_path: Path) -> None:
    config, _ = load_sweep(write(tmp_path, {"space": SPACE, "trials": 40, "seed": 5}))
    trials = draw(config)
    assert trials == draw(config)
    assert trials != draw(config.model_copy(update={"seed": 6}))
    assert {trial.rank for trial in trials} == {2, 4}
    assert {trial.max_grad_norm for trial in trials} == {0.1, 1.0}
    assert all(1.0 <= (trial.noise_multiplier or 0) <= 2.0 for trial in trials)
    assert all(1e-4 <= trial.learning_rate <= 1e-2 for trial in trials)


def test_a_trial_changes_what_it_varies_and_keeps_the_ratio_of_alpha_to_rank() -> None:
    run = RunConfig.model_validate(run_values())
    changed = varied(run, Trial(number=0, rank=2, learning_rate=0.5, noise_multiplier=1.0, max_grad_norm=0.3))
    assert (changed.lora.r, changed.lora.alpha) == (2, 4)
    assert changed.phases[0].learning_rate == 0.5
    assert changed.privacy is not None
    assert changed.privacy.max_grad_norm == 0.3
    assert changed.base_model == run.base_model


def test_the_best_run_file_asks_for_the_noise_of_the_best_trial() -> None:
    from acgs.privacy.plan import plan_privacy

    run = RunConfig.model_validate(run_values())
    trial = Trial(number=0, rank=4, learning_rate=0.01, noise_multiplier=1.7, max_grad_norm=0.5)
    plan = trial_plan(run, trial, population=200, steps=60)
    found = RunConfig.model_validate(yaml.safe_load(best_run_file(run, trial, plan)))
    assert found.lora.r == 4
    assert found.privacy is not None
    assert found.privacy.run_epsilon is not None
    again = plan_privacy(
        population=200, expected_batch=10, steps=60, target_epsilon=8.0, run_epsilon=found.privacy.run_epsilon,
        max_grad_norm=0.5, accountant="rdp",
    )  # fmt: skip
    assert again.noise_multiplier == pytest.approx(1.7, rel=1e-3)


def row(number: int, ending: str, perplexity: float | None) -> TrialRow:
    return TrialRow(
        trial=Trial(number=number, rank=2, learning_rate=0.1), seed=0, ending=ending, steps=4, perplexity=perplexity,
        best_perplexity=perplexity, seconds=1.0, charged="no privacy",
    )  # fmt: skip


def test_the_best_trial_is_one_that_came_to_its_end() -> None:
    rows = [row(0, STOPPED_EARLY, 1.0), row(1, FINISHED, 3.0), row(2, FINISHED, 2.0), row(3, FINISHED, None)]
    best = best_of(rows)
    assert best is not None
    assert best.trial.number == 2
    assert best_of(rows[:1]) is None


def test_noise_is_given_for_every_private_trial() -> None:
    run = RunConfig.model_validate(run_values())
    with pytest.raises(InvalidInputError, match="noise"):
        trial_plan(run, Trial(number=0, rank=2, learning_rate=0.1), population=100, steps=5)
    assert SweepConfig(name="a", run=Path("r")).space.noise_multiplier is None
