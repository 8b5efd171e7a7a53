"""What a private phase draws, clips and puts through the model: rows, or users with all that they contribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.engine import PrivateGradients
from acgs.learning.dp.losses import per_sequence_loss
from acgs.learning.dp.modes import Mode
from acgs.learning.dp.sampling import split
from acgs.learning.dp.self_test import TOLERANCE, self_test
from acgs.learning.dp.user_engine import PrivateUserGradients
from acgs.learning.finetune.config import Phase, PrivacySettings
from acgs.learning.finetune.contributions import contributions, population
from acgs.learning.finetune.examples import Example, collate
from acgs.learning.finetune.loop import LoopOptions, forward, to_device
from acgs.learning.finetune.world import World
from acgs.privacy.plan import PrivacyPlan

_BF16_TOLERANCE = 0.02
_TEST_ROWS = 4


class Units(Protocol):
    """The units of a plan, numbered from 0, attached to a model and its optimiser."""

    @property
    def targets(self) -> int:
        """Target tokens of all units."""

    def check(self) -> None:
        """Whether their gradients are clipped as they should be; raises `InvalidInputError` if not."""

    def backward(self, chosen: Sequence[int]) -> None:
        """Add the clipped gradients of the drawn units to the running sum."""

    def step(self) -> None:
        """One noisy step on the sum."""

    def close(self) -> None:
        """Detach from the model."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Puts rows through the model."""

    model: nn.Module
    phase: Phase
    options: LoopOptions
    world: World

    def pieces(self, rows: Sequence[Example]) -> Iterator[torch.Tensor]:
        """Losses in nats, shape (rows of the piece,), as many rows at a time as fit; computed when asked for."""
        for part in split(list(range(len(rows))), self.phase.micro_batch_size):
            yield self.losses(self.model, self.tensors([rows[i] for i in part]))

    def tensors(self, rows: Sequence[Example]) -> dict[str, torch.Tensor]:
        return to_device(collate(rows, self.options.pad_id), self.world.device)

    def losses(self, model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss of each row, in nats, shape (rows,)."""
        logits = forward(model, dict(batch), autocast=self.options.autocast)
        return per_sequence_loss(logits, batch["input_ids"], batch["target_mask"])


class Rows:
    """Each row is a unit: records, or sequences that documents were packed into."""

    def __init__(
        self,
        examples: Sequence[Example],
        passes: Passes,
        optimizer: torch.optim.Optimizer,
        *,
        mode: Mode,
        plan: PrivacyPlan,
    ) -> None:
        self._examples, self._passes = examples, passes
        self._engine = PrivateGradients(
            passes.model,
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.max_grad_norm,
            expected_batch_size=plan.expected_batch,
            physical_batch_size=passes.phase.micro_batch_size,
            mode=mode,
        )

    @property
    def targets(self) -> int:
        return sum(example.target_count for example in self._examples)

    def check(self) -> None:
        passes = self._passes
        tolerance = _BF16_TOLERANCE if passes.options.autocast else TOLERANCE
        few = passes.tensors(self._examples[:_TEST_ROWS])
        self_test(self._engine, passes.model, few, passes.losses, tolerance=tolerance)

    def backward(self, chosen: Sequence[int]) -> None:
        for losses in self._passes.pieces([self._examples[i] for i in chosen]):
            self._engine.backward(losses)

    def step(self) -> None:
        self._engine.step()

    def close(self) -> None:
        self._engine.close()


class Users:
    """Each user is a unit, with all rows that he contributes."""

    def __init__(
        self,
        users: Sequence[Sequence[Example]],
        passes: Passes,
        optimizer: torch.optim.Optimizer,
        *,
        plan: PrivacyPlan,
    ) -> None:
        self._users, self._passes = users, passes
        self._engine = PrivateUserGradients(
            passes.model,
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.max_grad_norm,
            expected_batch_size=plan.expected_batch,
        )

    @property
    def targets(self) -> int:
        return sum(row.target_count for rows in self._users for row in rows)

    def check(self) -> None:
        """Nothing to compare: what is clipped is the very sum that is added."""

    def backward(self, chosen: Sequence[int]) -> None:
        for user in chosen:
            self._engine.backward(self._passes.pieces(self._users[user]))

    def step(self) -> None:
        self._engine.step()

    def close(self) -> None:
        """Nothing was attached."""


def open_units(
    examples: Sequence[Example],
    passes: Passes,
    optimizer: torch.optim.Optimizer,
    *,
    privacy: PrivacySettings,
    plan: PrivacyPlan,
) -> Units:
    """The units that the plan counts.

    Raises:
        InvalidInputError: the data is not what the plan was made for, or the model cannot be trained with privately.
    """
    if (plan.unit, plan.contribution_cap) != (privacy.unit, privacy.contribution_cap):
        raise InvalidInputError("the plan is for another privacy unit or cap than the run's", field="privacy.unit")
    seed = passes.options.seed
    found = population(examples, privacy, seed)
    if found != plan.population:
        kind = "users" if plan.unit == "user" else "examples"
        raise InvalidInputError(f"the plan is for {plan.population} {kind}, the data has {found}", field="privacy")
    if privacy.contribution_cap is None:
        return Rows(examples, passes, optimizer, mode=privacy.mode, plan=plan)
    return Users(contributions(examples, cap=privacy.contribution_cap, seed=seed), passes, optimizer, plan=plan)
