"""Sweeps over a run file: what is varied, which trials there are, and what comes of them. Knows no cluster."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from acgs.errors import InvalidInputError
from acgs.learning.finetune.config import Phase, RunConfig, load_run, load_settings
from acgs.privacy.plan import CRITICAL_SHARE, PrivacyPlan

Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FINISHED = "finished"
STOPPED_EARLY = "stopped early by ASHA"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Part):
    """Drawn log-uniformly between the ends."""

    low: PositiveFloat
    high: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Space(_Part):
    """What is varied. Noise and clipping belong to private runs, which need a range of noise."""

    rank: tuple[Positive, ...] = Field((4, 8, 16), min_length=1)
    learning_rate: Range = Range(low=1e-4, high=1e-2)
    noise_multiplier: Range | None = None
    max_grad_norm: tuple[PositiveFloat, ...] | None = Field(None, min_length=1)


class SweepConfig(_Part):
    """A whole sweep. Its trials are drawn beforehand from `seed`, so that their cost is known before any starts."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$")
    run: Path = Field(description="run file of train_jobs.constitutional with one LoRA phase")
    trials: int = Field(8, ge=1, le=1000)
    seed: int = 0
    space: Space = Space()
    every_steps: Positive = Field(10, description="steps between two looks at a trial")
    grace_steps: Positive = Field(10, description="steps that every trial gets (ASHA)")
    reduction_factor: int = Field(3, ge=2, description="of so many trials one goes on at each rung (ASHA)")
    concurrent: Positive = 1
    cpus_per_trial: Positive = 1
    gpus_per_trial: float = Field(0, ge=0)
    tuning_data: Path | None = Field(
        None, description="public data set for the trials of a private run; nothing is then charged"
    )
    validation: Path | None = Field(
        None, description="public data set whose validation split ranks trials on private data"
    )


class Trial(_Part):
    """One draw."""

    number: int
    rank: Positive
    learning_rate: PositiveFloat
    noise_multiplier: PositiveFloat | None = None
    max_grad_norm: PositiveFloat | None = None


class TrialRow(_Part):
    """What is recorded of a trial. `ending` says why it stopped; `perplexity` is None where nothing was measured."""

    trial: Trial
    seed: int
    ending: str
    steps: int
    perplexity: float | None
    best_perplexity: float | None
    seconds: float
    charged: Literal["ledger", "public data", "no privacy"]
    run_id: str | None = None
    epsilon: float | None = None
    """Of the steps that the ledger counts for this trial alone."""


def load_sweep(path: Path) -> tuple[SweepConfig, RunConfig]:
    """A sweep file and the run file it names; relative paths are relative to the file they stand in.

    Raises:
        InvalidInputError: a file cannot be read, or a setting does not fit; it is named.
    """
    config = load_settings(path, SweepConfig)
    folder = path.resolve().parent
    places = {name: getattr(config, name) for name in ("run", "tuning_data", "validation")}
    config = config.model_copy(update={name: folder / place for name, place in places.items() if place is not None})
    run = load_run(config.run)
    if len(run.phases) != 1 or run.phases[0].method != "lora":
        raise InvalidInputError("a sweep varies a run with one phase that trains LoRA", field="run")
    _check_space(config, private=run.phases[0].private)
    return config, run


def _check_space(config: SweepConfig, *, private: bool) -> None:
    space = config.space
    if private and space.noise_multiplier is None:
        raise InvalidInputError("a private run needs a range of noise_multiplier", field="space.noise_multiplier")
    if not private and (space.noise_multiplier or space.max_grad_norm):
        raise InvalidInputError("noise and clipping belong to private runs; mark the phase private", field="space")
    if not private and config.tuning_data is not None:
        raise InvalidInputError("tuning_data stands in for private data; this run has none", field="tuning_data")


def draw(config: SweepConfig) -> list[Trial]:
    """The trials, a function of the configuration alone."""
    rng = np.random.default_rng(config.seed)
    space = config.space

    def between(ends: Range) -> float:
        return float(f"{math.exp(rng.uniform(math.log(ends.low), math.log(ends.high))):.4g}")

    return [
        Trial(
            number=number,
            rank=int(rng.choice(space.rank)),
            learning_rate=between(space.learning_rate),
            noise_multiplier=between(space.noise_multiplier) if space.noise_multiplier else None,
            max_grad_norm=float(rng.choice(space.max_grad_norm)) if space.max_grad_norm else None,
        )
        for number in range(config.trials)
    ]


def varied(run: RunConfig, trial: Trial) -> RunConfig:
    """The run with a trial's settings; alpha keeps its ratio to the rank."""
    alpha = max(1, round(run.lora.alpha * trial.rank / run.lora.r))
    phase: Phase = run.phases[0].model_copy(update={"learning_rate": trial.learning_rate})
    privacy = run.privacy
    if privacy is not None and trial.max_grad_norm is not None:
        privacy = privacy.model_copy(update={"max_grad_norm": trial.max_grad_norm})
    lora = run.lora.model_copy(update={"r": trial.rank, "alpha": alpha})
    return run.model_copy(update={"phases": (phase,), "lora": lora, "privacy": privacy})


def trial_plan(run: RunConfig, trial: Trial, *, population: int, steps: int) -> PrivacyPlan:
    """The plan of a private trial: its noise is given, not solved for."""
    privacy = run.privacy
    if privacy is None or trial.noise_multiplier is None:
        raise InvalidInputError("a private trial needs privacy settings and a noise multiplier", field="space")
    return PrivacyPlan(
        population=population,
        expected_batch=run.phases[0].batch_size,
        steps=steps,
        noise_multiplier=trial.noise_multiplier,
        max_grad_norm=trial.max_grad_norm or privacy.max_grad_norm,
        target_epsilon=privacy.target_epsilon,
        delta=privacy.delta,
        accountant=privacy.accountant,
        unit=privacy.unit,
        contribution_cap=privacy.contribution_cap,
    )


def best_of(rows: list[TrialRow]) -> TrialRow | None:
    """The trial with the least last perplexity among those that ran to their end; None where none did."""
    ended = [row for row in rows if row.ending == FINISHED and row.perplexity is not None]
    return min(ended, key=lambda row: row.perplexity or math.inf, default=None)


def best_run_file(run: RunConfig, trial: Trial, plan: PrivacyPlan | None) -> bytes:
    """A run file with the trial's settings. A private one asks for the epsilon that comes to the trial's noise."""
    best = varied(run, trial)
    if best.privacy is not None and plan is not None:
        own = min(plan.composed(()) / CRITICAL_SHARE, best.privacy.target_epsilon)
        best = best.model_copy(update={"privacy": best.privacy.model_copy(update={"run_epsilon": own})})
    values: dict[str, Any] = best.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False).encode()
