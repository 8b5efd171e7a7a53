"""The check at the start of each run: the engine's clipped sum against one example at a time by plain autograd.

It finds what an allow-list cannot: examples that influence each other through the loss or a layer, a layer whose first
dimension is not the batch, parameters used outside their layer. It says only pass or fail; no norm leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from acgs.errors import InvalidInputError
from acgs.learning.dp.engine import PrivateGradients

Batch = Mapping[str, torch.Tensor]
Losses = Callable[[nn.Module, Batch], torch.Tensor]

TOLERANCE = 1e-5
"""Relative error in float32. Under autocast to bfloat16 the two batch shapes round differently: allow 0.02 there."""
_SPREAD = 0.02
"""Standard deviation of the weights the test runs with: at the start LoRA's B is 0, which would hide errors in A."""


def self_test(
    engine: PrivateGradients, model: nn.Module, batch: Batch, losses_of: Losses, *, tolerance: float = TOLERANCE
) -> None:
    """Compare, on two or more examples, with dropout off and weights restored afterwards.

    Args:
        engine: attached to `model`.
        model: the model in training mode.
        batch: tensors whose first dimension is the example; some rows of the run's own data, 2 to 8 of them.
        losses_of: the run's loss, shape (batch,).
        tolerance: largest relative Euclidean error of the sum.

    Raises:
        InvalidInputError: the sums differ, or fewer than two examples were given.
    """
    size = len(next(iter(batch.values())))
    if size < 2:
        raise InvalidInputError("the self-test needs two examples or more, else it cannot see one influence another")
    for parameter in engine.parameters:
        parameter.grad = None  # what an earlier training left would be added to the first example's
    with _random_weights(engine.parameters), _without_dropout():
        with engine.suspended():
            alone = [_gradient(engine.parameters, losses_of(model, _row(batch, i))) for i in range(size)]
        norms = torch.stack([gradient.norm() for gradient in alone])
        # Between the norms, so that some examples are clipped and others are not.
        bound = float((norms.max() + norms.min()) / 2)
        if not 0 < bound < float("inf"):
            raise InvalidInputError("the self-test found gradients that are zero or not finite; check the loss")
        expected = torch.stack(alone).mul_((bound / norms).clamp(max=1)[:, None]).sum(0)
        found = torch.cat([total.flatten() for total in engine.clipped_sums(losses_of(model, batch), bound)])
    if not bool((found - expected).norm() <= tolerance * expected.norm()):
        raise InvalidInputError(
            f"clipped gradients in mode '{engine.choice.mode}' differ from one example at a time: "
            "the loss or a layer mixes examples, or a trainable layer is used in a way that is not supported"
        )


def _row(batch: Batch, number: int) -> Batch:
    return {name: tensor[number : number + 1] for name, tensor in batch.items()}


def _gradient(parameters: list[nn.Parameter], losses: torch.Tensor) -> torch.Tensor:
    """Flat gradient of one example; by `backward`, since reentrant checkpointing knows no other way."""
    losses.sum().backward()
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    return torch.cat([part.flatten() for part in parts])


@contextmanager
def _random_weights(parameters: list[nn.Parameter]) -> Iterator[None]:
    kept = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.device) * _SPREAD)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weights in zip(parameters, kept, strict=True):
                parameter.copy_(weights)


@contextmanager
def _without_dropout() -> Iterator[None]:
    """Dropout draws other masks for a batch than for its rows; it is per example, so the test can do without it.

    The functions are replaced, not the modules' rates: attention holds its rate in the configuration, and checkpointing
    calls them again inside the backward pass, on a thread of torch's own on a GPU.
    """
    dropout, attention = functional.dropout, functional.scaled_dot_product_attention

    def keep(input: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        return input

    def attend(*args: Any, **kwargs: Any) -> torch.Tensor:
        return attention(*args, **{**kwargs, "dropout_p": 0.0})

    functional.dropout, functional.scaled_dot_product_attention = keep, attend
    try:
        yield
    finally:
        functional.dropout, functional.scaled_dot_product_attention = dropout, attention
