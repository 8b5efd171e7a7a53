"""The training loop under differential privacy: Poisson batches, clipped and noised gradients, a budget that halts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.adapter_checks import assert_trained, trainable_weights
from acgs.learning.dp.admission import check_run
from acgs.learning.dp.sampling import PoissonSampler
from acgs.learning.finetune.checkpoints import LoopState, Snapshot, load_optimizer, load_weights
from acgs.learning.finetune.config import Phase, PrivacySettings
from acgs.learning.finetune.examples import Example
from acgs.learning.finetune.loop import Ending, LoopOptions, Observer, Progress, make_optimizer
from acgs.learning.finetune.private_units import Passes, open_units
from acgs.learning.finetune.schedules import learning_rate
from acgs.learning.finetune.world import World
from acgs.privacy.budget import BudgetStatus
from acgs.privacy.plan import PrivacyPlan

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
        InvalidInputError: the model, the data or the settings cannot be trained with privately.
        UnavailableError, IntegrityError: the ledger cannot be used.
    """
    world = world or World()
    if (gate is None) != (world.rank != 0):
        raise InvalidInputError("process 0, and only it, asks the privacy budget")
    # The phase's own clipping of the mean gradient is not used here: each unit's gradient is clipped instead.
    check_run(
        poisson_sampling=True, packing=phase.packing, unit=privacy.unit, loss_scaling=False, trainer_max_grad_norm=0
    )
    model.train()
    optimizer = make_optimizer(model, phase)
    state = load_weights(resume, model) if resume else LoopState(phase=options.phase_number)
    if resume:
        load_optimizer(resume, model, optimizer)
    rate_at = learning_rate(phase, plan.steps)
    units = open_units(examples, Passes(model, phase, options, world), optimizer, privacy=privacy, plan=plan)

    def save(folder: Path) -> None:
        Snapshot.take(model, optimizer).save(folder, state)

    try:
        units.check()
        sampler = PoissonSampler(
            population=plan.population,
            expected_batch_size=plan.expected_batch,
            steps=plan.steps,
            rank=world.rank,
            world=world.size,
        )
        # The expected number, since the drawn one is private.
        tokens_a_step = round(plan.expected_batch * units.targets / plan.population)
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
            units.backward(chosen)
            units.step()
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
        units.close()
