"""How processes share a phase without privacy: one reduction a step, PyTorch's DDP, or FSDP's sharded weights.

A private phase reduces by itself: what leaves a process there must be clipped and noised first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from acgs.learning.finetune.config import ParallelKind
from acgs.learning.finetune.world import World


class Parallel(Protocol):
    """One way of training together. Each process adds its part of the step's loss; gradients become their sum."""

    @property
    def module(self) -> nn.Module:
        """What a batch is put through."""

    def micro_batch(self, *, last: bool) -> Any:
        """Context of a forward and backward pass; with the last one of a step, processes may exchange gradients."""

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss such that what is reduced becomes the sum over processes."""

    def finish(self) -> None:
        """Gradients are whole after it. Called once a step, after all backward passes."""

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """The full tensor of which a process may hold a part. All processes call it together."""

    def part(self, full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """This process's part of a full tensor, laid out as `like`."""


class _Replicated:
    """Every process holds all weights."""

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def part(self, full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return full.to(like.device)


class OneReduction(_Replicated):
    """Gradients are added up over the whole step and reduced once, as one flat tensor."""

    def __init__(self, model: nn.Module, world: World) -> None:
        self.module = model
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._world = world

    def micro_batch(self, *, last: bool) -> Any:
        return nullcontext()

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        return loss

    def finish(self) -> None:
        if self._world.size == 1:
            return
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        flat = self._world.sum(torch.cat([part.flatten() for part in parts]))
        for parameter, piece in zip(self._parameters, flat.split([p.numel() for p in self._parameters]), strict=True):
            parameter.grad = piece.view_as(parameter)


class Ddp(_Replicated):
    """DistributedDataParallel: reduces bucket by bucket while the last backward pass of a step still runs."""

    def __init__(self, model: nn.Module, world: World) -> None:
        devices = [world.device] if world.device.type == "cuda" else None
        self._wrapped = DistributedDataParallel(model, device_ids=devices)
        self.module = self._wrapped
        self._size = world.size

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        with nullcontext() if last else self._wrapped.no_sync():
            yield

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        return loss * self._size  # DDP takes the mean over processes

    def finish(self) -> None:
        """Reduced already."""


class Fsdp:
    """FSDP2 (Zhao et al. 2023, arXiv:2304.11277): each process holds a part of every weight, gradient and moment."""

    def __init__(self, model: nn.Module, world: World) -> None:
        mesh = init_device_mesh(world.device.type, (world.size,))
        for block in _blocks(model):
            fully_shard(block, mesh=mesh)
        self._sharded = fully_shard(model, mesh=mesh)
        self.module = model  # sharded in place
        self._size = world.size

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        self._sharded.set_requires_gradient_sync(last)
        yield

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        return loss * self._size  # FSDP takes the mean over processes

    def finish(self) -> None:
        """Reduced already."""

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def part(self, full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        if not isinstance(like, DTensor):
            return full.to(like.device)
        return distribute_tensor(full.to(like.device), like.device_mesh, like.placements)


def parallelise(kind: ParallelKind, model: nn.Module, world: World) -> Parallel:
    """The model as the processes train it together; a process on its own needs nothing."""
    if world.size == 1 or kind == "all_reduce":
        return OneReduction(model, world)
    if kind == "ddp":
        return Ddp(model, world)
    return Fsdp(model, world)


def is_sharded(model: nn.Module) -> bool:
    """Whether this process holds only parts of the weights."""
    return isinstance(model, FSDPModule)


def trained_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained weights, whole, on this process's device. Where they are sharded, all processes call it together."""
    return {
        name: p.full_tensor() if isinstance(p, DTensor) else p.detach()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The layers that transformers says are not to be split."""
    names: set[str] = set()
    for module in model.modules():
        names.update(getattr(module, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]
