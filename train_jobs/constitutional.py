"""Fine-tune a model under the constitution: `python -m train_jobs.constitutional --config run.yaml --output DIR`.

Runs as it stands or through `ray job submit`. Started again with the same output, it goes on from its last checkpoint.
Exit codes: 0 trained, 1 failed on the way, 2 refused before anything was computed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from acgs.cli.connection import connect, last_line, require_resources
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import load_locked
from acgs.errors import AcgsError, InvalidInputError
from acgs.files import write_atomic
from acgs.settings import Settings

RUN = "run.json"
REPORT = "report.html"
MOST_NOISE = 32.0
"""Noise multiplier above which a run is refused: it would spend the last of a budget on nothing."""
START_TIMEOUT_SECONDS = "600"
"""Starting workers takes minutes on a slow machine; Ray Train's own minute and endless retries look like a hang."""


class TrainingFailedError(AcgsError):
    """Training began and could not be finished."""

    code = "training_failed"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may start: everything that can be refused beforehand was looked at."""

    run_id: str
    config: Any
    config_digest: str
    constitution: LockedConstitution
    datasets: list[Any]
    plan: Any
    output: Path
    settings: Settings


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the run file (YAML)")
    parser.add_argument("--output", type=Path, required=True, help="folder for adapter, model, card and report")
    parser.add_argument("--session", help="id of the session that the training service started this job for")
    parser.add_argument("--check", action="store_true", help="look at everything that can be refused, and stop")
    return parser.parse_args(arguments)


def prepare(config_path: Path, output: Path, *, only_look: bool = False) -> Prepared:
    """Check configuration, data and privacy budget before anything is computed, and open the run in the ledger.

    With `only_look` nothing is written and no budget is promised.

    Raises:
        AcgsError: naming what is in the way.
    """
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.finetune.config import load_run
    from acgs.learning.finetune.evaluation import read_sets
    from acgs.learning.finetune.private_data import keep_off_private_data

    settings = Settings()
    config = load_run(config_path)
    read_sets(config)
    _refuse_output(output)
    constitution = load_locked(settings.constitution_path)
    datasets = [Dataset(phase.data) for phase in config.phases]
    for dataset in datasets:
        dataset.files("train"), dataset.files("validation")
    keep_off_private_data(config, datasets)
    output = output.resolve()
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    run_id = _run_id(output, config.name, digest)
    plan: Any = None
    open_run: Callable[[], object] = _nothing
    if config.privacy is not None:
        plan, open_run = _plan(config, datasets, settings, run_id)
    if not only_look:
        # The name first: a run that the ledger knows and the folder does not would be promised its budget for ever.
        known = (output / RUN).exists()
        write_atomic(output / RUN, orjson.dumps({"run_id": run_id, "config_digest": digest}))
        try:
            open_run()
        except AcgsError:
            if not known:
                (output / RUN).unlink()
            raise
    return Prepared(run_id, config, digest, constitution, datasets, plan, output, settings)


def _refuse_output(output: Path) -> None:
    """An output that no folder can be made at."""
    place = output.resolve()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InvalidInputError(f"{output} cannot be a folder for results; name another", field="output")


def _run_id(output: Path, name: str, digest: str) -> str:
    """The run's name in ledger and audit log; an output folder belongs to one run."""
    path = output / RUN
    if path.exists():
        known: dict[str, str] = orjson.loads(path.read_bytes())
        if known["config_digest"] != digest:
            raise InvalidInputError(f"{output} holds another run; name another output", field="output")
        return known["run_id"]
    return f"{name}-{secrets.token_hex(4)}"


def _nothing() -> None:
    """Nothing is to be opened."""


def _plan(config: Any, datasets: list[Any], settings: Settings, run_id: str) -> tuple[Any, Callable[[], object]]:
    """The noise that the budget allows, and what opens the run in the ledger; a run that was opened keeps its plan."""
    from acgs.learning.finetune.base_models import open_base
    from acgs.learning.finetune.batches import BatchOrder
    from acgs.learning.finetune.contributions import planned_population
    from acgs.learning.finetune.examples import phase_rows
    from acgs.privacy.ledger import DataSet, population_account, refuse_other_terms
    from acgs.privacy.plan import plan_privacy
    from acgs.privacy.sql_ledger import open_ledger

    privacy = config.privacy
    number = next(place for place, phase in enumerate(config.phases) if phase.private)
    phase, dataset = config.phases[number], datasets[number]
    ledger = open_ledger(settings)
    charged = [DataSet(origin, privacy.population) for origin in dataset.manifest.origins]
    try:
        return ledger.run(run_id).plan, _nothing
    except InvalidInputError:
        pass  # a new run
    records = list(dataset.records("train"))
    examples = phase_rows(open_base(config.base_model).tokenizer, records, phase)
    units = planned_population(examples, len(records), privacy, config.seed)
    names = {item.id for item in charged}
    if privacy.unit == "user":
        names.add(population_account(privacy.population))
    accounts = [ledger.account(name) for name in names]
    plan = plan_privacy(
        population=units,
        expected_batch=phase.batch_size,
        steps=BatchOrder(units, phase.batch_size, config.seed).steps(phase.epochs),
        target_epsilon=privacy.target_epsilon,
        run_epsilon=privacy.run_epsilon,
        delta=privacy.delta,
        max_grad_norm=privacy.max_grad_norm,
        accountant=privacy.accountant,
        unit=privacy.unit,
        contribution_cap=privacy.contribution_cap,
        priors=[account.committed() for account in accounts if account is not None] or [()],
    )
    for account in accounts:
        if account is not None:
            refuse_other_terms(account, plan)
    if plan.noise_multiplier > MOST_NOISE:
        raise InvalidInputError(
            f"so little of epsilon {privacy.target_epsilon:g} is left for this data that the noise multiplier would be "
            f"{plan.noise_multiplier:.3g}; nothing would be learned (see `acgs privacy ledger`)",
            field="privacy.target_epsilon",
        )
    return plan, lambda: ledger.open_run(run_id, plan, charged, owner="train_jobs.constitutional")


def train(prepared: Prepared) -> None:
    """Run the workers to their end.

    Raises:
        TrainingFailedError, InvalidInputError: with the worker's own words.
    """
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from train_jobs.constitutional_worker import FAILURE, OUTCOME, work

    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", START_TIMEOUT_SECONDS)
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # it shows every line twice
    config, output = prepared.config, prepared.output
    for stale in (FAILURE, OUTCOME):
        (output / stale).unlink(missing_ok=True)
    connect(ray)
    workers = config.min_workers or config.workers
    wanted = {"GPU" if config.use_gpu else "CPU": float(workers)}
    available = ray.cluster_resources()  # type: ignore[no-untyped-call]
    require_resources(f"{workers} workers", wanted, available, field="workers")
    _say_if_waiting(wanted, ray.available_resources())  # type: ignore[no-untyped-call]
    settings = {
        "config": config.model_dump(mode="json"),
        "output": str(output),
        "state_dir": str(prepared.settings.state_dir.resolve()),
        "constitution_digest": prepared.constitution.digest,
        "run_id": prepared.run_id,
        "plan": prepared.plan.model_dump(mode="json") if prepared.plan else None,
        "threads": 1 if config.workers > 1 else max(1, (os.cpu_count() or 2) // 2),
    }
    elastic: Any = (config.min_workers, config.workers) if config.min_workers else config.workers
    trainer = TorchTrainer(
        work,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if config.use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=elastic, use_gpu=config.use_gpu),
        run_config=RunConfig(
            name="ray-train",
            storage_path=str(output),
            failure_config=FailureConfig(
                max_failures=config.max_failures,
                controller_failure_limit=3,  # type: ignore[call-arg]
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=config.keep_checkpoints),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray Train's errors have no base of their own
        raise TrainingFailedError(last_line(error)) from error
    if (output / FAILURE).exists():
        failure = orjson.loads((output / FAILURE).read_bytes())
        raise TrainingFailedError(failure["message"])
    if not (output / OUTCOME).exists():
        raise TrainingFailedError("the workers ended without an outcome; see their logs")


def _say_if_waiting(wanted: dict[str, float], free: dict[str, float]) -> None:
    for kind, amount in wanted.items():
        if free.get(kind, 0.0) < amount:
            sys.stderr.write(f"waiting for {amount:g} {kind}; {free.get(kind, 0.0):g} of the cluster's are free now\n")


def conclude(prepared: Prepared) -> dict[str, Any]:
    """Merge, state the privacy, write card and report, and put the run on record."""
    from acgs.learning.finetune.outcome import RunOutcome
    from acgs.learning.finetune.report import write_report
    from acgs.learning.finetune.results import collect_adapter, full_report
    from train_jobs.constitutional_worker import OUTCOME, quieten_transformers

    quieten_transformers()
    output = prepared.output
    outcome = RunOutcome.model_validate_json((output / OUTCOME).read_bytes())
    statement = _statement(prepared) if prepared.plan else None
    adapter_bytes = collect_adapter(prepared.config, output)
    report = full_report(
        prepared.config,
        outcome,
        run_id=prepared.run_id,
        config_digest=prepared.config_digest,
        constitution_digest=prepared.constitution.digest,
        data=[
            {"phase": phase.kind, "id": dataset.manifest.id, "rows": dataset.manifest.rows}
            for phase, dataset in zip(prepared.config.phases, prepared.datasets, strict=True)
        ],
        acgs_version=version("acgs"),
        adapter_bytes=adapter_bytes,
        privacy=statement.model_dump(mode="json") if statement else None,
    )
    from acgs.learning.finetune.card import model_card

    write_atomic(output / "MODEL_CARD.md", model_card(report, statement.markdown() if statement else None).encode())
    write_report(output, report, outcome.phases)
    return report


def _statement(prepared: Prepared) -> Any:
    from acgs.privacy.sql_ledger import open_ledger
    from acgs.privacy.statement import state_privacy

    ledger = open_ledger(prepared.settings, create=False)
    ledger.close_run(prepared.run_id)
    return state_privacy(ledger, prepared.run_id)


def record(settings: Settings, kind: str, run_id: str, details: dict[str, Any], *, session: str | None) -> None:
    """Put an event of the run into the audit log; of a session the service does it, which also sees killed jobs."""
    if session is not None:
        return
    from acgs.audit.entries import Event
    from acgs.audit.installation import audit_directory, signing_key
    from acgs.audit.journal import Journal
    from acgs.audit.recorder import AuditRecorder

    identity = f"train-{secrets.token_hex(8)}"
    recorder = AuditRecorder(Journal(audit_directory(settings).journals, identity), signing_key(settings), identity)
    recorder.record_event(Event(kind=kind, actor="train_jobs.constitutional", subject=run_id, details=details))
    recorder.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        prepared = prepare(options.config, options.output, only_look=options.check)
    except AcgsError as error:
        sys.stderr.write(f"acgs: {error.message}\n")
        return 2
    if not options.check and (prepared.output / REPORT).exists():
        sys.stdout.write(f"this run is finished: {prepared.output / REPORT}\n")
        return 0
    if options.check:
        noise = f", noise multiplier {prepared.plan.noise_multiplier:.3f}" if prepared.plan else ""
        sys.stdout.write(f"{prepared.config.name} can start{noise}\n")
        return 0
    try:
        train(prepared)
        report = conclude(prepared)
    except AcgsError as error:
        reason = {"reason": error.code}
        record(prepared.settings, "constitutional_training_failed", prepared.run_id, reason, session=options.session)
        sys.stderr.write(f"acgs: {error.message}\n")
        return 2 if isinstance(error, InvalidInputError) else 1
    details = {
        "constitution_digest": prepared.constitution.digest,
        "config_digest": prepared.config_digest,
        "data": [item["id"] for item in report["data"]],
        "ledger_head": (report["privacy"] or {}).get("ledger_head"),
    }
    record(prepared.settings, "constitutional_training_completed", prepared.run_id, details, session=options.session)
    sys.stdout.write(f"{prepared.output / REPORT}\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
