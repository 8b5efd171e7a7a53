"""The training loop: one phase on one process of many, with or without privacy, from any checkpoint on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from acgs.errors import AcgsError, InvalidInputError
from acgs.learning.dp.losses import per_sequence_loss
from acgs.learning.finetune.batches import BatchOrder
from acgs.learning.finetune.checkpoints import LoopState, Snapshot, load_optimizer, load_weights, trainable
from acgs.learning.finetune.config import ParallelKind, Phase
from acgs.learning.finetune.examples import Example, collate
from acgs.learning.finetune.parallel import Parallel, parallelise
from acgs.learning.finetune.schedules import learning_rate
from acgs.learning.finetune.world import World

FIRST_LOSS_SCALE = 2.0**13
"""PyTorch's own 2**16 makes the first steps of most models overflow."""


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
    autocast: torch.dtype | None = None
    """Half precision of the forward pass; float16 comes with loss scaling."""
    parallel: ParallelKind = "all_reduce"


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


def forward(model: Any, batch: dict[str, torch.Tensor], *, autocast: torch.dtype | None = None) -> torch.Tensor:
    """Logits of a collated batch, computed in `autocast` where it is given."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "target_mask"}
    with torch.autocast(batch["input_ids"].device.type, dtype=autocast, enabled=autocast is not None):
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits


def batch_loss_sum(model: Any, batch: dict[str, torch.Tensor], *, autocast: torch.dtype | None = None) -> torch.Tensor:
    """Next-token cross-entropy summed over the batch's targets, in nats."""
    logits = forward(model, batch, autocast=autocast)
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
    workers and micro-batches: each adds its share of the sum.

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
    state = load_weights(resume, model) if resume else LoopState(phase=options.phase_number)
    world.share_weights(list(trainable(model).values()))
    parallel = parallelise(options.parallel, model, world)
    optimizer = make_optimizer(model, phase)
    if resume:
        load_optimizer(resume, model, optimizer, parallel.part)
    parameters = list(trainable(model).values())
    scaler = loss_scaler(options.autocast, world.device, state)
    model.train()
    started = time.monotonic() - state.seconds
    while state.step < steps:
        batch = order.batch(state.step)
        rate = rate_at(state.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        tokens = sum(examples[index].target_count for index in batch)
        seed_step(options.seed, options.phase_number, state.step, world.rank)
        rows = [[examples[index] for index in part] for part in _pieces(world.share(batch), phase.micro_batch_size)]
        # A process without examples goes through the motions with one, at no weight: the others wait for it.
        share = _backward(
            parallel, scaler, rows or [[examples[batch[0]]]], weight=bool(rows) / max(tokens, 1),
            options=options, device=world.device,
        )  # fmt: skip
        loss_value = float(world.sum(share))
        if not math.isfinite(loss_value):
            raise NonFiniteLossError(
                f"the loss of step {state.step + 1} is {loss_value}; the last checkpoint is good: resume from it with "
                "a smaller learning_rate or in fp32"
            )
        scaler.unscale_(optimizer)
        if phase.max_grad_norm:
            nn.utils.clip_grad_norm_(parameters, phase.max_grad_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.tokens += tokens
        state.seconds = time.monotonic() - started
        state.loss_scale = scaler.get_scale() if scaler.is_enabled() else None
        state.curve.append((state.step, round(loss_value, 6), rate))
        observer.stepped(Progress(state.step, steps, loss_value, rate, state.tokens, state.seconds))
        reason = observer.stop_reason(state)
        if reason or state.step == steps or state.step % options.checkpoint_every == 0:
            snapshot = Snapshot.take(model, optimizer, parallel.whole)
            observer.checkpoint_due(state, partial(snapshot.save, state=state))
        if reason:
            return Ending(state, reason)
    return Ending(state, "finished")


def _backward(
    parallel: Parallel,
    scaler: torch.amp.GradScaler,
    pieces: list[list[Example]],
    *,
    weight: float,
    options: LoopOptions,
    device: torch.device,
) -> torch.Tensor:
    """Add this process's gradients of a step, micro-batch by micro-batch; returns its share of the loss, shape (1,)."""
    share = torch.zeros(1, device=device)
    for number, piece in enumerate(pieces, start=1):
        collated = to_device(collate(piece, options.pad_id), device)
        with parallel.micro_batch(last=number == len(pieces)):
            loss = batch_loss_sum(parallel.module, collated, autocast=options.autocast) * weight
            scaler.scale(parallel.scaled(loss)).backward()
        share += loss.detach()
    parallel.finish()
    return share


def loss_scaler(autocast: torch.dtype | None, device: torch.device, state: LoopState) -> torch.amp.GradScaler:
    """Keeps float16 gradients from vanishing (Micikevicius et al. 2018, arXiv:1710.03740); idle in other precisions."""
    enabled = autocast == torch.float16
    scale = state.loss_scale or FIRST_LOSS_SCALE
    return torch.amp.GradScaler(device.type, init_scale=scale, enabled=enabled)


def seed_step(seed: int, phase: int, step: int, rank: int) -> None:
    """Seed dropout for one step; a resumed run drops what an uninterrupted one drops."""
    torch.manual_seed(hash((seed, phase, step, rank)) & (2**63 - 1))


def to_device(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The same tensors on the device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _pieces(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]
