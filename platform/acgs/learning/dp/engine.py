"""DP-SGD (Abadi et al. 2016, arXiv:1607.00133) as two calls of a training loop: `backward` and `step`."""

from __future__ import annotations

from contextlib import AbstractContextManager

import structlog
import torch
from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.admission import check_model, check_optimizer, trainable
from acgs.learning.dp.modes import DEFAULT_MEMORY_BUDGET, Mode, build_method, choose_mode
from acgs.learning.dp.noisy_sum import NoisySum, require_positive
from acgs.learning.dp.randomness import NoiseSource


class PrivateGradients:
    """Adds clipped per-example gradients over physical batches and ranks, then steps on their noisy sum (`NoisySum`).

    An empty batch is a step like any other: call `step` without `backward`. Norms of single gradients are private and
    stay inside.

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
        require_positive(physical_batch_size=physical_batch_size)
        check_model(model)
        parameters = trainable(model)
        check_optimizer(parameters, optimizer)
        self._sum = NoisySum(
            parameters,
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            noise=noise,
        )
        self.choice = choose_mode(model, mode, physical_batch_size=physical_batch_size, memory_budget=memory_budget)
        structlog.get_logger("learning.dp").info("clipping_mode", mode=self.choice.mode, reason=self.choice.reason)
        self._max_grad_norm = max_grad_norm
        self._physical_batch_size = physical_batch_size
        self._method = build_method(model, self.choice)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, in the order of `clipped_sums`."""
        return self._sum.parameters

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
        self._sum.refuse_foreign_gradients()
        self._method.add_clipped_sums(losses, self._max_grad_norm, self._sum.totals)

    def step(self) -> None:
        """See `NoisySum.step`."""
        self._sum.step()

    def clipped_sums(self, losses: torch.Tensor, max_grad_norm: float) -> list[torch.Tensor]:
        """The clipped gradients of one batch, apart from the running sum and without noise: for the self-test only."""
        _, totals = self._sum.empty()
        self._method.add_clipped_sums(losses, max_grad_norm, totals)
        return totals

    def suspended(self) -> AbstractContextManager[None]:
        """Inside, the model computes as if the engine were not there."""
        return self._method.suspended()

    def close(self) -> None:
        """Detach from the model."""
        self._method.close()
