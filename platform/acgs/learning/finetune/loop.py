"""The training loop: one phase on one process of many, with or without privacy, from any checkpoint on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from acgs.errors import AcgsError, InvalidInputError
from acgs.learning.dp.losses import per_sequence_loss
from acgs.learning.finetune.batches import BatchOrder
from acgs.learning.finetune.checkpoints import LoopState, load_checkpoint, save_checkpoint, trainable
from acgs.learning.finetune.config import Phase
from acgs.learning.finetune.examples import Example, collate
from acgs.learning.finetune.schedules import learning_rate
from acgs.learning.finetune.world import World


class NonFiniteLossError(AcgsError):
    """Training ran into NaN or infinity; the last checkpoint is good."""

    code = "non_finite_loss"


@dataclass(frozen=True, slots=True)
class Progress:
    """One finished step, as observers see it. The loss is the mean over the step's target tokens, in nats.

    In a private phase `loss` is None: it is a figure of the private data that no epsilon covers.
    """

    step: int
    steps: int
    loss: float | None
    learning_rate: float
    tokens: int
    seconds: float
    epsilon: float | None = None
    """What a private phase's scarcest budget had spent at the last checkpoint."""


Save = Callable[[Path], None]


class Observer(Protocol):
    """What a loop tells, on every process alike."""

    def stepped(self, progress: Progress) -> None:
        """A step is done."""

    def checkpoint_due(self, state: LoopState, save: Save) -> None:
        """A checkpoint is due: `save(directory)` writes it. Asked at the end of the phase too."""

    def stop_reason(self, state: LoopState) -> str | None:
        """Asked after each step: why training must stop now, if it must."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """What a loop needs beyond its phase."""

    seed: int
    phase_number: int
    pad_id: int
    checkpoint_every: int
    bf16: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How a phase ended: `finished`, or the reason why it stopped early."""

    state: LoopState
    reason: str


def make_optimizer(model: nn.Module, phase: Phase) -> torch.optim.Optimizer:
    """AdamW over the trained parameters."""
    parameters = list(trainable(model).values())
    if not parameters:
        raise InvalidInputError("the model has no trainable parameter", field="lora")
    return torch.optim.AdamW(parameters, lr=phase.learning_rate, weight_decay=phase.weight_decay)


def forward(model: Any, batch: dict[str, torch.Tensor], *, bf16: bool) -> torch.Tensor:
    """Logits of a collated batch."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "target_mask"}
    with torch.autocast(batch["input_ids"].device.type, dtype=torch.bfloat16, enabled=bf16):
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits


def batch_loss_sum(model: Any, batch: dict[str, torch.Tensor], *, bf16: bool) -> torch.Tensor:
    """Next-token cross-entropy summed over the batch's targets, in nats."""
    logits = forward(model, batch, bf16=bf16)
    mean = per_sequence_loss(logits, batch["input_ids"], batch["target_mask"])
    return (mean * batch["target_mask"][:, 1:].sum(1)).sum()


def train_phase(
    model: nn.Module,
    examples: Sequence[Example],
    phase: Phase,
    *,
    options: LoopOptions,
    observer: Observer,
    world: World | None = None,
    resume: Path | None = None,
) -> Ending:
    """Train without privacy.

    The gradient of a step is that of the mean over all target tokens of its batch, however the batch is spread over
    workers and micro-batches: each adds its share of the sum, and one all-reduce adds up the shares.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite.
        InvalidInputError: nothing can be trained.
    """
    world = world or World()
    order = BatchOrder(len(examples), phase.batch_size, options.seed)
    if not examples:
        raise InvalidInputError("there is no example to train on", field="train")
    steps = order.steps(phase.epochs)
    rate_at = learning_rate(phase, steps)
    optimizer = make_optimizer(model, phase)
    state = load_checkpoint(resume, model, optimizer) if resume else LoopState(phase=options.phase_number)
    parameters = list(trainable(model).values())
    world.share_weights(parameters)
    model.train()
    started = time.monotonic() - state.seconds
    while state.step < steps:
        batch = order.batch(state.step)
        rate = rate_at(state.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        tokens = sum(examples[index].target_count for index in batch)
        seed_step(options.seed, options.phase_number, state.step, world.rank)
        share = torch.zeros(1, device=world.device)
        for part in _pieces(world.share(batch), phase.micro_batch_size):
            collated = to_device(collate([examples[index] for index in part], options.pad_id), world.device)
            loss = batch_loss_sum(model, collated, bf16=options.bf16) / max(tokens, 1)
            loss.backward()
            share += loss.detach()
        loss_value = float(world.sum(share))
        if not math.isfinite(loss_value):
            raise NonFiniteLossError(
                f"the loss of step {state.step + 1} is {loss_value}; the last checkpoint is good: resume from it with "
                "a smaller learning_rate or in fp32"
            )
        _sum_gradients(parameters, world)
        if phase.max_grad_norm:
            nn.utils.clip_grad_norm_(parameters, phase.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.tokens += tokens
        state.seconds = time.monotonic() - started
        state.curve.append((state.step, round(loss_value, 6), rate))
        observer.stepped(Progress(state.step, steps, loss_value, rate, state.tokens, state.seconds))
        reason = observer.stop_reason(state)
        if reason or state.step == steps or state.step % options.checkpoint_every == 0:
            observer.checkpoint_due(state, lambda folder: save_checkpoint(folder, model, optimizer, state))
        if reason:
            return Ending(state, reason)
    return Ending(state, "finished")


def seed_step(seed: int, phase: int, step: int, rank: int) -> None:
    """Seed dropout for one step; a resumed run drops what an uninterrupted one drops."""
    torch.manual_seed(hash((seed, phase, step, rank)) & (2**63 - 1))


def to_device(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The same tensors on the device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _pieces(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _sum_gradients(parameters: list[nn.Parameter], world: World) -> None:
    """One all-reduce of all gradients; a process without examples adds zeros."""
    if world.size == 1:
        return
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = world.sum(torch.cat([part.flatten() for part in parts]))
    for parameter, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = piece.view_as(parameter)
