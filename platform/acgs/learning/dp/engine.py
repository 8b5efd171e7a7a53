"""DP-SGD (Abadi et al. 2016, arXiv:1607.00133) as two calls of a training loop: `backward` and `step`."""

from __future__ import annotations

from contextlib import AbstractContextManager

import structlog
import torch
from torch import distributed, nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.admission import check_model, check_optimizer, trainable
from acgs.learning.dp.modes import DEFAULT_MEMORY_BUDGET, Mode, build_method, choose_mode
from acgs.learning.dp.randomness import FreshNoise, NoiseSource


class PrivateGradients:
    """Adds clipped per-example gradients over physical batches and ranks, then steps on their noisy sum.

    The step's gradient is (sum over examples of clipped gradients + N(0, (noise_multiplier * max_grad_norm)^2)),
    divided by the public constant `expected_batch_size`, never by the size of the batch that was drawn. Sums are
    float32. Rank 0 adds the noise, once for the sum of all ranks; every rank then holds the same gradient. An empty
    batch is a step like any other: call `step` without `backward`.

    Norms of single gradients are private and stay inside.

    Args:
        model: a PEFT model or any module, on its device, in training mode; not wrapped in DistributedDataParallel.
        optimizer: holds exactly the model's trainable parameters.
        noise_multiplier: standard deviation of the noise in units of `max_grad_norm`, > 0.
        max_grad_norm: bound on the Euclidean norm of one example's gradient, > 0.
        expected_batch_size: mean size of the logical batch over all ranks, a public constant.
        mode: see `acgs.learning.dp.modes`.
        physical_batch_size: most examples in one `backward`; the memory rule of mode `auto` counts with it.
        memory_budget: bytes that gradients per example may take before `auto` prefers ghost clipping.
        noise: only for tests that need to know the noise.

    Raises:
        InvalidInputError: the model, optimiser or numbers cannot be trained with privately.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: int,
        physical_batch_size: int,
        mode: Mode = "auto",
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        noise: NoiseSource | None = None,
    ) -> None:
        numbers = {
            "noise_multiplier": noise_multiplier,
            "max_grad_norm": max_grad_norm,
            "expected_batch_size": expected_batch_size,
            "physical_batch_size": physical_batch_size,
        }
        for name, number in numbers.items():
            if not 0 < number < float("inf"):
                raise InvalidInputError(f"{name} must be a positive number, not {number}", field=name)
        check_model(model)
        self._parameters = trainable(model)
        check_optimizer(self._parameters, optimizer)
        self.choice = choose_mode(model, mode, physical_batch_size=physical_batch_size, memory_budget=memory_budget)
        structlog.get_logger("learning.dp").info("clipping_mode", mode=self.choice.mode, reason=self.choice.reason)
        self._optimizer = optimizer
        self._max_grad_norm = max_grad_norm
        self._deviation = noise_multiplier * max_grad_norm
        self._expected_batch_size = expected_batch_size
        self._physical_batch_size = physical_batch_size
        self._noise = noise or FreshNoise()
        self._sum = torch.zeros(sum(p.numel() for p in self._parameters), device=self._parameters[0].device)
        self._totals = views(self._sum, self._parameters)
        self._method = build_method(model, self.choice)
        self._share_weights()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, in the order of `clipped_sums`."""
        return self._parameters

    def backward(self, losses: torch.Tensor) -> None:
        """Run the backward pass and add the clipped gradient of each example to the running sum.

        Args:
            losses: shape (b,), one per example and independent of the others (`per_sequence_loss`).

        Raises:
            InvalidInputError: not one loss per example, or more than `physical_batch_size`.
            NonFiniteGradientError: a loss or gradient is NaN or infinite.
        """
        if losses.ndim != 1:
            raise InvalidInputError("backward needs one loss per example, shape (batch,), not a mean over the batch")
        if len(losses) == 0:
            return
        if len(losses) > self._physical_batch_size:
            raise InvalidInputError(f"{len(losses)} losses exceed the physical batch of {self._physical_batch_size}")
        if not losses.requires_grad:
            raise InvalidInputError("the losses lead to no trainable weight; call model.enable_input_require_grads()")
        self._refuse_foreign_gradients()
        self._method.add_clipped_sums(losses, self._max_grad_norm, self._totals)

    def step(self) -> None:
        """Add noise, sum over ranks, divide by the expected batch size, step the optimiser, start a new sum.

        Raises:
            InvalidInputError: a parameter holds a gradient that was not clipped here.
        """
        self._refuse_foreign_gradients()
        ranked = _ranked()
        if not ranked or distributed.get_rank() == 0:
            self._noise.add_normal(self._sum, self._deviation)
        if ranked:
            distributed.all_reduce(self._sum)
        self._sum /= self._expected_batch_size
        for parameter, total in zip(self._parameters, self._totals, strict=True):
            parameter.grad = total
        self._optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None
        self._sum.zero_()

    def clipped_sums(self, losses: torch.Tensor, max_grad_norm: float) -> list[torch.Tensor]:
        """The clipped gradients of one batch, apart from the running sum and without noise: for the self-test only."""
        totals = views(torch.zeros_like(self._sum), self._parameters)
        self._method.add_clipped_sums(losses, max_grad_norm, totals)
        return totals

    def suspended(self) -> AbstractContextManager[None]:
        """Inside, the model computes as if the engine were not there."""
        return self._method.suspended()

    def close(self) -> None:
        """Detach from the model."""
        self._method.close()

    def _refuse_foreign_gradients(self) -> None:
        if any(parameter.grad is not None for parameter in self._parameters):
            raise InvalidInputError("a parameter holds an unclipped gradient; use PrivateGradients.backward only")

    def _share_weights(self) -> None:
        """LoRA starts from random numbers of each process: all ranks take rank 0's."""
        if _ranked():
            for parameter in self._parameters:
                distributed.broadcast(parameter.data, src=0)


def views(flat: torch.Tensor, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    """Windows on a flat tensor, one in the shape of each parameter."""
    pieces = flat.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]


def _ranked() -> bool:
    return distributed.is_available() and distributed.is_initialized()
