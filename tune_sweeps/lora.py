"""Vary rank, learning rate, noise and clipping of a run: `python -m tune_sweeps.lora --config sweep.yaml --output DIR`.

ASHA (Li et al. 2020, arXiv:1810.05934) stops trials that fall behind in held-out perplexity. Trials on private data are
runs of their own in the privacy ledger: all of them are promised their steps before the first starts, or the sweep is
refused. Started again with the same output, a killed sweep goes on where it was.
Exit codes: 0 done, 1 no trial came to its end, 2 refused before anything was computed.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acgs.cli.connection import connect, last_line
from acgs.errors import AcgsError, InvalidInputError
from acgs.files import write_atomic
from acgs.settings import Settings
from tune_sweeps.sweep_folder import TRIALS, TUNE, claim, settings_digest, sweep_name

BEST = "best.yaml"
_OWNER = "tune_sweeps.lora"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sweep that may start. `plans` holds None without privacy, `run_ids` is None where nothing is charged."""

    config: Any
    run: Any
    trials: list[Any]
    plans: list[Any]
    run_ids: list[str] | None
    data: Path
    validation: Path
    steps: int
    output: Path
    settings: Settings


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the sweep file (YAML)")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for trials, their rows and the best run file"
    )
    parser.add_argument("--check", action="store_true", help="look at everything that can be refused, and stop")
    return parser.parse_args(arguments)


def prepare(config_path: Path, output: Path, *, only_look: bool = False) -> Prepared:
    """Look at everything that can be refused, draw the trials, and open their runs in the ledger.

    With `only_look` nothing is written and no budget is promised.

    Raises:
        AcgsError: naming what is in the way.
    """
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.finetune.base_models import open_base
    from acgs.learning.finetune.batches import BatchOrder
    from acgs.learning.finetune.contributions import planned_population
    from acgs.learning.finetune.examples import phase_rows
    from acgs.learning.finetune.private_data import keep_off_private_data
    from acgs.learning.finetune.sweep import draw, load_sweep, trial_plan

    settings, output = Settings(), output.resolve()
    config, run = load_sweep(config_path)
    phase = run.phases[0]
    data = config.tuning_data or phase.data
    validation = config.validation or data
    keep_off_private_data(run, [Dataset(phase.data)])
    _refuse_private_judgement(config, phase)
    Dataset(validation).files("validation")
    records = list(Dataset(data).records("train"))
    examples = phase_rows(open_base(run.base_model).tokenizer, records, phase)
    units = planned_population(examples, len(records), run.privacy, run.seed) if run.privacy else len(examples)
    steps = BatchOrder(units, phase.batch_size, run.seed).steps(phase.epochs)
    trials = draw(config)
    plans: list[Any] = [None] * len(trials)
    if phase.private:
        plans = [trial_plan(run, trial, population=units, steps=steps) for trial in trials]
    digest = settings_digest(config.model_dump_json(), run.model_dump_json())
    name = sweep_name(output, config.name, digest)
    charged = phase.private and config.tuning_data is None
    run_ids = [f"{name}-{trial.number:03d}" for trial in trials] if charged else None
    if run_ids is not None:
        _promise(run_ids, plans, run, Dataset(data).manifest.origins, settings, only_look=only_look)
    if not only_look:
        claim(output, name, digest)
    return Prepared(config, run, trials, plans, run_ids, data, validation, steps, output, settings)


def _refuse_private_judgement(config: Any, phase: Any) -> None:
    """Trials on private data are ranked on public data: the better figure on private rows would tell of them."""
    from acgs.learning.data.dataset import Dataset

    if not phase.private:
        return
    protected = set(Dataset(phase.data).manifest.origins)
    if config.tuning_data is None and config.validation is None:
        raise InvalidInputError(
            "choosing by figures of private rows is outside the guarantee; name a public data set as validation, or "
            "tune on public tuning_data",
            field="validation",
        )
    for name in ("tuning_data", "validation"):
        place = getattr(config, name)
        if place is not None and protected.intersection(Dataset(place).manifest.origins):
            raise InvalidInputError(
                f"{name} stems from the same data as the private phase; it is not public", field=name
            )


def _promise(
    run_ids: list[str], plans: list[Any], run: Any, origins: tuple[str, ...], settings: Settings, *, only_look: bool
) -> None:
    """Refuse a sweep that would overdraw as a whole; else open the runs of all its trials."""
    from acgs.privacy.ledger import DataSet
    from acgs.privacy.sql_ledger import open_ledger
    from acgs.privacy.tuning import refuse_overdraft, sweep_costs

    ledger = open_ledger(settings)
    accounts = {origin: ledger.account(origin) for origin in origins}
    opened = {run.run_id for account in accounts.values() if account for run in account.runs}
    waiting = [(name, plan) for name, plan in zip(run_ids, plans, strict=True) if name not in opened]
    if not waiting:
        return
    priors = {origin: account.committed() if account else () for origin, account in accounts.items()}
    refuse_overdraft(sweep_costs([plan for _, plan in waiting], priors), len(waiting))
    if only_look:
        return
    charged = [DataSet(origin, run.privacy.population) for origin in origins]
    done: list[str] = []
    try:
        for name, plan in waiting:
            ledger.open_run(name, plan, charged, owner=_OWNER)
            done.append(name)
    except AcgsError:
        # Somebody else was promised the budget meanwhile; what was opened here gives its own back.
        for name in done:
            ledger.close_run(name)
        raise


def sweep(prepared: Prepared) -> list[Any]:
    """Run the trials to their ends and return their rows, one a trial."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from tune_sweeps.lora_trial import run_trial

    connect(ray)
    config = prepared.config
    resources = {"cpu": config.cpus_per_trial, "gpu": config.gpus_per_trial}
    trainable = tune.with_resources(tune.with_parameters(run_trial, settings=_trial_settings(prepared)), resources)
    space = {"trial": tune.grid_search([trial.model_dump() for trial in prepared.trials])}
    place = prepared.output / TUNE
    if tune.Tuner.can_restore(str(place)):
        tuner = tune.Tuner.restore(str(place), trainable, param_space=space, resume_unfinished=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="perplexity",
                mode="min",
                max_concurrent_trials=config.concurrent,
                scheduler=ASHAScheduler(
                    time_attr="step",
                    max_t=max(prepared.steps, config.grace_steps) + 1,  # the last step is no reason to stop a trial
                    grace_period=config.grace_steps,
                    reduction_factor=config.reduction_factor,
                ),
            ),
            run_config=tune.RunConfig(
                name=TUNE,
                storage_path=str(prepared.output),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
                verbose=1,
            ),
        )
    found = tuner.fit()
    results = [found[number] for number in range(len(found))]
    return [_row(prepared, trial, _result_of(results, trial)) for trial in prepared.trials]


def _trial_settings(prepared: Prepared) -> dict[str, Any]:
    return {
        "run": prepared.run.model_dump(mode="json"),
        "data": str(prepared.data),
        "validation": str(prepared.validation),
        "every_steps": prepared.config.every_steps,
        "plans": [plan.model_dump(mode="json") if plan else None for plan in prepared.plans],
        "run_ids": prepared.run_ids,
        "state_dir": str(prepared.settings.state_dir.resolve()),
        "threads": prepared.config.cpus_per_trial,
        "gpu": prepared.config.gpus_per_trial > 0,
    }


def _result_of(results: list[Any], trial: Any) -> Any:
    return next((r for r in results if (r.config or {}).get("trial", {}).get("number") == trial.number), None)


def _row(prepared: Prepared, trial: Any, result: Any) -> Any:
    """What is recorded of a trial; a private one's run is closed, and what it never reserved given back."""
    from acgs.learning.finetune.sweep import FINISHED, STOPPED_EARLY, TrialRow
    from acgs.privacy.sql_ledger import open_ledger
    from acgs.privacy.statement import run_spending

    figures = (result.metrics or {}) if result is not None else {}
    steps = int(figures.get("step", 0))
    # A trial stopped at its last step missed only the last word.
    ending = str(figures.get("ending") or (FINISHED if steps >= prepared.steps else STOPPED_EARLY))
    if result is None or result.error is not None:
        ending = f"failed: {last_line(result.error)}" if result is not None else "never started"
    history = result.metrics_dataframe if result is not None else None
    measured = [] if history is None or "perplexity" not in history else history["perplexity"].dropna().tolist()
    run_id, epsilon = None, None
    if prepared.run_ids is not None:
        run_id = prepared.run_ids[trial.number]
        account = open_ledger(prepared.settings, create=False).close_run(run_id)
        epsilon = run_spending(account).rdp
    return TrialRow(
        trial=trial,
        seed=prepared.run.seed,
        ending=ending,
        steps=steps,
        perplexity=figures.get("perplexity"),
        best_perplexity=min(measured, default=None),
        seconds=float(figures.get("time_total_s", 0.0)),
        charged="ledger" if run_id else "public data" if prepared.plans[trial.number] else "no privacy",
        run_id=run_id,
        epsilon=epsilon,
    )


def conclude(prepared: Prepared, rows: list[Any]) -> Any:
    """Write the rows and, where a trial came to its end, the best one's run file; return that trial's row or None."""
    from acgs.learning.finetune.sweep import best_of, best_run_file

    lines = b"".join(row.model_dump_json().encode() + b"\n" for row in rows)
    best = best_of(rows)
    if best is not None:
        plan = prepared.plans[best.trial.number]
        write_atomic(prepared.output / BEST, best_run_file(prepared.run, best.trial, plan))
    write_atomic(prepared.output / TRIALS, lines)
    return best


def main(arguments: list[str] | None = None) -> int:
    """Run the sweep; returns the exit code."""
    options = parse_arguments(arguments)
    if not options.check and (options.output / TRIALS).exists():
        sys.stdout.write(f"this sweep is finished: {options.output / TRIALS}\n")
        return 0
    try:
        prepared = prepare(options.config, options.output, only_look=options.check)
    except AcgsError as error:
        sys.stderr.write(f"acgs: {error.message}\n")
        return 2
    if options.check:
        sys.stdout.write(f"{prepared.config.name} can start: {len(prepared.trials)} trials of {prepared.steps} steps\n")
        return 0
    try:
        best = conclude(prepared, sweep(prepared))
    except AcgsError as error:
        sys.stderr.write(f"acgs: {error.message}\n")
        return 1
    if best is None:
        sys.stderr.write(f"acgs: no trial came to its end; {prepared.output / TRIALS} says why\n")
        return 1
    sys.stdout.write(f"{prepared.output / BEST}: trial {best.trial.number}, perplexity {best.perplexity:.3f}\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
