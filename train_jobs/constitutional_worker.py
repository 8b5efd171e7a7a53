"""What one Ray Train worker does in a constitutional training run."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from acgs.errors import AcgsError, UnavailableError
from acgs.files import write_atomic

OUTCOME = "outcome.json"
FAILURE = "failure.json"
STAGING = "staging"


def work(settings: dict[str, Any]) -> None:
    """Run the phases on this worker.

    A fault that would only repeat itself is written down instead of raised, so that it is not retried.
    """
    import ray.train
    import torch

    logging.disable(logging.INFO)  # Ray tells each report; our own lines do not go this way
    quieten_transformers()
    output = Path(settings["output"])
    if (output / FAILURE).exists():
        return
    torch.set_num_threads(settings["threads"])
    context = ray.train.get_context()
    checkpoint = ray.train.get_checkpoint()
    try:
        with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
            _execute(settings, output, context, Path(folder) if folder else None)
    except UnavailableError:
        raise  # may pass; Ray Train tries again
    except AcgsError as error:
        import orjson

        write_atomic(output / FAILURE, orjson.dumps({"code": error.code, "message": error.message}))


def quieten_transformers() -> None:
    """Keep out of the job's log what comes with every model and asks nothing of the user."""
    from transformers.utils.logging import disable_progress_bar

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    disable_progress_bar()  # type: ignore[no-untyped-call]


def _execute(settings: dict[str, Any], output: Path, context: Any, checkpoint: Path | None) -> None:
    from ray.train.torch import get_device

    from acgs.constitution.source import load_locked
    from acgs.learning.finetune.config import RunConfig
    from acgs.learning.finetune.run import Surroundings, TrainingRun
    from acgs.learning.finetune.world import World
    from acgs.learning.revision.assessment import Judge
    from acgs.privacy.plan import PrivacyPlan
    from acgs.settings import Settings

    environment = Settings(state_dir=Path(settings["state_dir"]))
    constitution = load_locked(environment.constitution_path)
    constitution.require(settings["constitution_digest"])
    rank = context.get_world_rank()

    def open_judge() -> Judge:
        from acgs.governance.assembly import open_governor
        from acgs.learning.revision.critic import GovernorCritic

        return GovernorCritic(open_governor(environment))

    plan = settings["plan"]
    surroundings = Surroundings(
        report=_reporter(output, rank),
        open_judge=open_judge,
        principles=constitution.document.principle_ids,
        plan=PrivacyPlan.model_validate(plan) if plan else None,
        open_gate=(lambda: _gate(settings, environment)) if plan and rank == 0 else None,
        checkpoint=checkpoint,
        world=World(rank, context.get_world_size(), get_device()),
    )
    config = RunConfig.model_validate(settings["config"])
    outcome = TrainingRun(config, output, surroundings).execute()
    if rank == 0:
        write_atomic(output / OUTCOME, outcome.model_dump_json().encode())


def _reporter(output: Path, rank: int) -> Any:
    """Hands checkpoints to Ray Train: process 0's; the others report beside it, since all must report alike."""
    import ray.train

    staging = output / STAGING
    if rank == 0:
        # What a killed worker left half written.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)

    def report(state: Any, save: Any) -> None:
        figures = {"phase": state.phase, "step": state.step}
        if rank != 0:
            ray.train.report(figures)
            return
        folder = Path(tempfile.mkdtemp(dir=staging))
        save(folder)
        # Training goes on while the folder is copied to where it is kept.
        ray.train.report(
            figures,
            checkpoint=ray.train.Checkpoint.from_directory(folder),
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=True,
        )

    return report


@contextmanager
def _gate(settings: dict[str, Any], environment: Any) -> Iterator[Any]:
    from acgs.privacy.budget import BudgetGuard
    from acgs.privacy.sql_ledger import open_ledger

    ledger = open_ledger(environment, create=False)
    with BudgetGuard(ledger, settings["run_id"], block=settings["config"]["privacy"]["block"]) as guard:
        yield guard
