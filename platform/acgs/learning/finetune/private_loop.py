"""The training loop under differential privacy: Poisson batches, clipped and noised gradients, a budget that halts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.adapter_checks import assert_trained, trainable_weights
from acgs.learning.dp.admission import check_run
from acgs.learning.dp.engine import PrivateGradients
from acgs.learning.dp.losses import per_sequence_loss
from acgs.learning.dp.sampling import PoissonSampler, split
from acgs.learning.dp.self_test import TOLERANCE, self_test
from acgs.learning.finetune.checkpoints import LoopState, Snapshot, load_optimizer, load_weights
from acgs.learning.finetune.config import Phase, PrivacySettings
from acgs.learning.finetune.examples import Example, collate
from acgs.learning.finetune.loop import Ending, LoopOptions, Observer, Progress, forward, make_optimizer, to_device
from acgs.learning.finetune.schedules import learning_rate
from acgs.learning.finetune.world import World
from acgs.privacy.budget import BudgetStatus
from acgs.privacy.plan import PrivacyPlan

_BF16_TOLERANCE = 0.02
_TEST_ROWS = 4
BUDGET_REACHED = "the privacy budget is used up to 95 %"


class Gate(Protocol):
    """Asked by process 0 before each noisy step; `acgs.privacy.budget.BudgetGuard` is one."""

    @property
    def steps(self) -> int:
        """Steps of the run that ran or may have run, earlier attempts included."""

    def permit(self) -> bool:
        """Whether one more step may run; it then counts."""

    def status(self) -> BudgetStatus:
        """What is spent; takes tenths of a second."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The examples as batches of tensors, and the loss of each of their rows."""

    examples: Sequence[Example]
    options: LoopOptions
    world: World

    def tensors(self, indices: list[int]) -> dict[str, torch.Tensor]:
        return to_device(collate([self.examples[i] for i in indices], self.options.pad_id), self.world.device)

    def losses(self, model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        logits = forward(model, dict(batch), autocast=self.options.autocast)
        return per_sequence_loss(logits, batch["input_ids"], batch["target_mask"])


def train_privately(
    model: nn.Module,
    examples: Sequence[Example],
    phase: Phase,
    *,
    privacy: PrivacySettings,
    plan: PrivacyPlan,
    options: LoopOptions,
    observer: Observer,
    gate: Gate | None,
    world: World | None = None,
    resume: Path | None = None,
) -> Ending:
    """Train one phase under `plan`.

    Steps count in the ledger, not in the checkpoint: what a crash lost was spent all the same, and the schedule ends
    where the plan does.

    Args:
        gate: on process 0; None on the others, which are told what it said.

    Raises:
        InvalidInputError: the model or the settings cannot be trained with privately.
        UnavailableError, IntegrityError: the ledger cannot be used.
    """
    world = world or World()
    if (gate is None) != (world.rank != 0):
        raise InvalidInputError("process 0, and only it, asks the privacy budget")
    _check(examples, phase, privacy, plan)
    model.train()
    optimizer = make_optimizer(model, phase)
    state = load_weights(resume, model) if resume else LoopState(phase=options.phase_number)
    if resume:
        load_optimizer(resume, model, optimizer)
    rate_at = learning_rate(phase, plan.steps)
    engine = PrivateGradients(
        model,
        optimizer,
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=plan.max_grad_norm,
        expected_batch_size=plan.expected_batch,
        physical_batch_size=phase.micro_batch_size,
        mode=privacy.mode,
    )

    rows = _Rows(examples, options, world)

    def save(folder: Path) -> None:
        Snapshot.take(model, optimizer).save(folder, state)

    try:
        tolerance = _BF16_TOLERANCE if options.autocast else TOLERANCE
        few = rows.tensors(list(range(min(_TEST_ROWS, len(examples)))))
        self_test(engine, model, few, rows.losses, tolerance=tolerance)
        sampler = PoissonSampler(
            population=plan.population,
            expected_batch_size=plan.expected_batch,
            steps=plan.steps,
            rank=world.rank,
            world=world.size,
        )
        # The expected number, since the drawn one is private.
        tokens_a_step = round(plan.expected_batch * sum(e.target_count for e in examples) / len(examples))
        started = time.monotonic() - state.seconds
        before = trainable_weights(model)
        first, epsilon = True, None
        for chosen in sampler:
            number = world.agree(gate.steps if gate and gate.permit() else 0)
            if not number:
                observer.checkpoint_due(state, save)
                spent = world.agree(gate.steps if gate else 0)
                return Ending(state, "finished" if spent >= plan.steps else BUDGET_REACHED)
            rate = rate_at(number - 1)
            for group in optimizer.param_groups:
                group["lr"] = rate
            for part in split(chosen, phase.micro_batch_size):
                engine.backward(rows.losses(model, rows.tensors(part)))
            engine.step()
            if first and rate > 0:
                assert_trained(model, before)
                first = False
            state.step += 1
            state.tokens += tokens_a_step
            state.seconds = time.monotonic() - started
            due = state.step % options.checkpoint_every == 0
            if gate and (due or number == plan.steps):
                epsilon = gate.status().epsilon
            observer.stepped(Progress(state.step, plan.steps, None, rate, state.tokens, state.seconds, epsilon))
            reason = observer.stop_reason(state)
            if reason or due:
                observer.checkpoint_due(state, save)
            if reason:
                return Ending(state, reason)
        observer.checkpoint_due(state, save)
        return Ending(state, "finished")
    finally:
        engine.close()


def _check(examples: Sequence[Example], phase: Phase, privacy: PrivacySettings, plan: PrivacyPlan) -> None:
    if len(examples) != plan.population:
        raise InvalidInputError(
            f"the plan is for {plan.population} examples, the data has {len(examples)}", field="privacy"
        )
    # The phase's own clipping of the mean gradient is not used here: each example's gradient is clipped instead.
    check_run(
        poisson_sampling=True, packing=phase.packing, unit=privacy.unit, loss_scaling=False, trainer_max_grad_norm=0
    )
