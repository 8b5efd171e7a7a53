"""DP-SGD whose unit is a user: the gradients of all that a user contributes are averaged, and clipped as one.

User-level sampling of Charles et al. 2024 (arXiv:2407.07737). Clipping each record instead would let a user of k
records move the sum by k times the bound; group privacy pays for that with epsilon, this pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.admission import check_model, check_optimizer, trainable
from acgs.learning.dp.methods import clip_weights, require_finite
from acgs.learning.dp.noisy_sum import NoisySum
from acgs.learning.dp.randomness import NoiseSource


class PrivateUserGradients:
    """Adds one clipped gradient per user over ranks, then steps on their noisy sum (`NoisySum`).

    A user has passes of his own through the model, so that his gradient is what ordinary backward passes add up: it
    needs no per-example gradients, holds for every layer and loss, and takes the memory of one gradient. Users with
    few records fill small passes; that is its price in speed.

    Args:
        model, optimizer, noise_multiplier, noise: as for `PrivateGradients`.
        max_grad_norm: bound on the Euclidean norm of one user's gradient, > 0.
        expected_batch_size: mean number of users in a logical batch over all ranks, a public constant.

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
        noise: NoiseSource | None = None,
    ) -> None:
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
        self._max_grad_norm = max_grad_norm

    def backward(self, parts: Iterable[torch.Tensor]) -> None:
        """Add the clipped gradient of one user's mean loss to the running sum.

        Args:
            parts: losses of shape (b,), one per row of this user; all his rows of this step are in this call. Each
                part is asked for when the one before is done, so that one forward pass at a time is held.

        Raises:
            InvalidInputError: a part holds no loss per row, or leads to no trainable weight.
            NonFiniteGradientError: a loss or gradient is NaN or infinite; nothing was added.
        """
        self._sum.refuse_foreign_gradients()
        rows = 0
        try:
            for losses in parts:
                _check(losses)
                losses.sum().backward()
                rows += len(losses)
            if rows:
                self._add_clipped(rows)
        finally:
            for parameter in self._sum.parameters:
                parameter.grad = None

    def step(self) -> None:
        """See `NoisySum.step`."""
        self._sum.step()

    def _add_clipped(self, rows: int) -> None:
        reached = [
            (total, parameter.grad)
            for total, parameter in zip(self._sum.totals, self._sum.parameters, strict=True)
            if parameter.grad is not None
        ]
        if not reached:
            raise InvalidInputError("no gradient reached a trainable weight; call model.enable_input_require_grads()")
        squared = torch.stack([torch.linalg.vector_norm(gradient / rows).square() for _, gradient in reached]).sum()
        weight = clip_weights(squared, self._max_grad_norm)
        for total, gradient in reached:
            total.add_(gradient / rows * weight)


def _check(losses: torch.Tensor) -> None:
    if losses.ndim != 1 or len(losses) == 0:
        raise InvalidInputError("backward needs one loss per row, shape (rows,)")
    if not losses.requires_grad:
        raise InvalidInputError("the losses lead to no trainable weight; call model.enable_input_require_grads()")
    require_finite(losses)
