"""What the sweeps over a retrieval corpus have in common: their file, their command line, their trials on Ray Tune."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from acgs.cli.connection import connect, last_line, require_resources
from acgs.cli.output import JSON_OPTION
from acgs.errors import UnavailableError
from acgs.learning.finetune.config import load_settings
from acgs.retrieval.encoders import MINILM
from tune_sweeps.sweep_folder import TUNE, Journal, Row

BEGUN: Final = "begun"
FAILED: Final = "failed: "
INDEX: Final = "index"
"""Folder below the sweep's, for the index that it builds."""


class Part(BaseModel):
    """A piece of a sweep's file or records."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RetrievalSweep(Part):
    """What every sweep over a corpus is told. Relative paths are relative to the file they stand in."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$")
    index: Path | None = Field(None, description="a finished index; default: one is built in the sweep's folder")
    encoder: str = Field(MINILM, description="'minilm', or a folder with an encoder")
    concurrent: int = Field(1, ge=1, description="trials at a time; with more than one, their times disturb each other")
    cpus_per_trial: int = Field(1, ge=1)


Sweep = TypeVar("Sweep", bound=RetrievalSweep)


def load_sweep(path: Path, kind: type[Sweep]) -> Sweep:
    """A sweep file.

    Raises:
        InvalidInputError: it cannot be read, or a setting does not fit; it is named.
    """
    config, folder = load_settings(path, kind), path.resolve().parent
    places: dict[str, Any] = {
        name: folder / value for name, value in config if isinstance(value, Path) and not value.is_absolute()
    }
    if config.encoder != MINILM:
        places["encoder"] = str(folder / config.encoder)
    return config.model_copy(update=places)


def parse_arguments(description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    """Command line of a sweep."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the sweep file (YAML)")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for trials and artifacts, under a path that every node sees"
    )
    parser.add_argument("--check", action="store_true", help="look at everything that can be refused, and stop")
    parser.add_argument(JSON_OPTION, action="store_true", dest="as_json", help="write JSON for machines")
    return parser.parse_args(arguments)


def tell(line: str) -> None:
    """Say on standard error where the sweep is."""
    sys.stderr.write(f"{line}\n")


def latest(rows: Sequence[Row]) -> dict[int, Row]:
    """The last row of each trial, by its number: a trial that failed may have been tried again."""
    return {row.trial.number: row for row in rows}  # type: ignore[attr-defined]


def waiting(trials: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
    """Trials that have not ended, or failed."""
    ended = {number for number, row in latest(rows).items() if not row.ending.startswith(FAILED)}
    return [trial for trial in trials if trial.number not in ended]


def run_trials(
    trainable: Any,
    trials: Sequence[Any],
    config: RetrievalSweep,
    journal: Journal[Row],
    row: Callable[[dict[str, Any], dict[str, Any], str | None], Row],
    *,
    scheduler: Any = None,
) -> None:
    """Run trials to their ends, each recorded as it ends. Actors are used again, with what they opened or built.

    Args:
        trainable: a `tune.Trainable` whose configuration is {"trial": the trial's fields}.
        row: the record of a trial from its fields, its last result (empty without one) and why it failed, if it did.
        scheduler: Tune's, with metric and mode; default: first in, first out.

    Raises:
        InvalidInputError: the cluster has no room for one trial.
        UnavailableError: the sweep was interrupted, or a record could not be written.
    """
    import ray
    from ray import tune

    connect(ray)
    available = ray.cluster_resources()  # type: ignore[no-untyped-call]
    require_resources("trials", {"CPU": float(config.cpus_per_trial)}, available, field="cpus_per_trial")
    total = len(trials)

    class Recorder(tune.Callback):
        """Writes a line for each trial that ended."""

        def __init__(self) -> None:
            self.ended = 0

        def record(self, trial: Any, failure: str | None) -> None:
            made = row(trial.config["trial"], trial.last_result, failure)
            journal.append(made)
            self.ended += 1
            tell(f"{self.ended} of {total} trials: {made}")

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:
            # Tune also calls this for what it gives up when the sweep is interrupted.
            if trial.last_result.get("done"):
                self.record(trial, None)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:
            self.record(trial, last_line(Exception(Path(trial.error_file).read_text(encoding="utf-8"))))

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": config.cpus_per_trial}),
        param_space={"trial": tune.grid_search([trial.model_dump(mode="json") for trial in trials])},
        tune_config=tune.TuneConfig(max_concurrent_trials=config.concurrent, scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=str(journal.path.parent.resolve()),
            callbacks=[Recorder()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    # Tune prints where it is; standard output belongs to the answer.
    with redirect_stdout(sys.stderr):
        tuner.fit()
    recorded = latest(journal.rows())
    left = sum(trial.number not in recorded for trial in trials)
    if left:
        raise UnavailableError(f"{left} of {total} trials have not ended; start the sweep again with the same output")
