"""Which method computes the clipped sums, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.admission import checkpoints_without_reentry, outside_layers, tied, trainable
from acgs.learning.dp.factored import Factored
from acgs.learning.dp.methods import ClippingMethod

Mode = Literal["auto", "factored", "hooks", "ghost"]

BYTES_PER_GRADIENT = 4
"""float32."""
DEFAULT_MEMORY_BUDGET = 2 << 30
"""Bytes that gradients per example may take."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The mode of a run and one clause that says why, for the log."""

    mode: Literal["factored", "hooks", "ghost"]
    reason: str


def choose_mode(model: nn.Module, mode: Mode, *, physical_batch_size: int, memory_budget: int) -> Choice:
    """Take the mode asked for, or the fastest whose gradients per example fit in `memory_budget` bytes.

    Raises:
        InvalidInputError: the mode asked for, or every mode, cannot train this model exactly.
    """
    if mode != "auto":
        obstacle = _obstacle(model, mode)
        if obstacle:
            raise InvalidInputError(f"mode '{mode}' cannot train this model: {obstacle}", field="mode")
        return Choice(mode, "asked for")
    need = BYTES_PER_GRADIENT * sum(parameter.numel() for parameter in trainable(model)) * physical_batch_size
    size = f"gradients per example need {need / 2**20:.1f} MiB of {memory_budget / 2**20:.1f} MiB"
    order: list[Literal["factored", "hooks", "ghost"]] = ["factored", "hooks", "ghost"]
    if need > memory_budget:
        order = ["ghost", "factored", "hooks"]
    obstacles = {candidate: _obstacle(model, candidate) for candidate in order}
    for candidate in order:
        if obstacles[candidate] is None:
            passed_over = [f"not {other}: {obstacles[other]}" for other in order[: order.index(candidate)]]
            return Choice(candidate, "; ".join([size, *passed_over]))
    raise InvalidInputError(f"no mode can train this model exactly: {obstacles['factored']}", field="mode")


def build_method(model: nn.Module, choice: Choice) -> ClippingMethod:
    """Attach the chosen method to the model."""
    parameters = trainable(model)
    if choice.mode == "factored":
        return Factored(model, parameters)
    # Late: importing Opacus takes seconds, and the usual mode does without it.
    from acgs.learning.dp.opacus_methods import OpacusGhost, OpacusHooks

    return OpacusHooks(model, parameters) if choice.mode == "hooks" else OpacusGhost(model, parameters)


def _obstacle(model: nn.Module, mode: str) -> str | None:
    outside = outside_layers(model)
    if mode == "factored":
        return f"no rule for {outside[0]}" if outside else None
    if checkpoints_without_reentry(model):
        return "its gradient checkpointing has use_reentrant=False"
    if mode == "ghost" and tied(model):
        return "trainable embeddings are tied"
    return None
