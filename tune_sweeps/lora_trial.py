"""What one Ray Tune trial of a LoRA sweep does: train in its process, and tell Tune the perplexity of held-out text."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def run_trial(config: dict[str, Any], settings: dict[str, Any]) -> None:
    """Train one trial, from its last checkpoint on where the sweep was killed."""
    import torch
    from ray import tune

    from acgs.learning.finetune.base_models import open_base
    from acgs.learning.finetune.config import RunConfig
    from acgs.learning.finetune.loop import LoopOptions, train_phase
    from acgs.learning.finetune.private_loop import train_privately
    from acgs.learning.finetune.sweep import Trial, varied
    from acgs.learning.finetune.world import World
    from acgs.privacy.plan import PrivacyPlan

    torch.set_num_threads(settings["threads"])
    trial = Trial.model_validate(config["trial"])
    run = varied(RunConfig.model_validate(settings["run"]), trial)
    phase = run.phases[0].model_copy(update={"data": Path(settings["data"])})
    base = open_base(run.base_model)
    world = World(0, 1, torch.device("cuda" if settings["gpu"] else "cpu"))
    model = _attached(base, run, world.device)
    examples = _examples(base, phase, Path(settings["data"]), "train")
    watcher = _Watcher(model, base, phase, _examples(base, phase, Path(settings["validation"]), "validation"))
    options = LoopOptions(
        seed=run.seed, phase_number=0, pad_id=base.tokenizer.pad_token_id, checkpoint_every=settings["every_steps"]
    )
    plan = settings["plans"][trial.number]
    checkpoint = tune.get_checkpoint()
    with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
        resume = Path(folder) if folder else None
        if plan is None:
            ending = train_phase(model, examples, phase, options=options, observer=watcher, world=world, resume=resume)
        else:
            private = PrivacyPlan.model_validate(plan)
            assert run.privacy is not None
            with _gate(settings, trial.number, private, block=run.privacy.block) as gate:
                ending = train_privately(
                    model, examples, phase, privacy=run.privacy, plan=private, options=options, observer=watcher,
                    gate=gate, world=world, resume=resume,
                )  # fmt: skip
    tune.report({**watcher.last, "ending": ending.reason})


def _attached(base: Any, run: Any, device: Any) -> Any:
    """The base on its device with LoRA, whose initial weights come from the run's seed and no data."""
    import torch

    from acgs.learning.finetune.adapters import attach

    torch.manual_seed(run.seed)
    return attach(base.model.to(device), run.lora)


def _examples(base: Any, phase: Any, data: Path, split: str) -> list[Any]:
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.finetune.examples import phase_rows

    return phase_rows(base.tokenizer, Dataset(data).records(split), phase)


@dataclass(slots=True)
class _Watcher:
    """The loop's observer: measures at each checkpoint and hands figures and checkpoint to Tune together."""

    model: Any
    base: Any
    phase: Any
    held_out: list[Any]
    last: dict[str, Any] = field(default_factory=lambda: {"step": 0})

    def stepped(self, progress: Any) -> None:
        """Nothing to tell between two looks."""

    def stop_reason(self, state: Any) -> str | None:
        """The scheduler stops trials, not the loop."""
        return None

    def checkpoint_due(self, state: Any, save: Any) -> None:
        """Measure and report, once for each step."""
        from ray import tune

        from acgs.learning.finetune.evaluation import perplexity

        if state.step == self.last["step"]:
            return
        found = perplexity(
            self.model,
            self.held_out,
            pad_id=self.base.tokenizer.pad_token_id,
            batch_size=self.phase.micro_batch_size,
            device=next(self.model.parameters()).device,
        )
        self.last = {"step": state.step, "perplexity": found, "train_seconds": state.seconds}
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
            tune.report(self.last, checkpoint=tune.Checkpoint.from_directory(folder))


@contextmanager
def _gate(settings: dict[str, Any], number: int, plan: Any, *, block: int) -> Iterator[Any]:
    """The ledger's gate for private data; for public data one that only counts."""
    run_ids = settings["run_ids"]
    if run_ids is None:
        yield _Counter(plan)
        return
    from acgs.privacy.budget import BudgetGuard
    from acgs.privacy.sql_ledger import open_ledger
    from acgs.settings import Settings

    environment = Settings(state_dir=Path(settings["state_dir"]))
    ledger = open_ledger(environment, create=False)
    with BudgetGuard(ledger, run_ids[number], block=block) as guard:
        yield guard


class _Counter:
    """Lets every step of the plan through: the data is public, and the noise is there to be tuned with."""

    def __init__(self, plan: Any) -> None:
        self._plan = plan
        self.steps = 0

    def permit(self) -> bool:
        """Whether the plan has a step left."""
        self.steps += 1
        return bool(self.steps <= self._plan.steps)

    def status(self) -> Any:
        """What the steps would cost a data set of this size on its own."""
        from acgs.privacy.budget import BudgetStatus

        spent, cap = self._plan.composed((), self.steps), self._plan.target_epsilon
        return BudgetStatus(
            state="ok",
            epsilon=spent,
            delta=self._plan.delta,
            target_epsilon=cap,
            remaining_budget=max(0.0, cap - spent),
            budget_utilization=spent / cap,
            training_steps=self.steps,
            violations=(),
        )
