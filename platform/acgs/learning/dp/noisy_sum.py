"""The running sum of clipped gradients, and the noisy step on it: the same whatever unit was clipped."""

from __future__ import annotations

import torch
from torch import distributed, nn

from acgs.errors import InvalidInputError
from acgs.learning.dp.randomness import FreshNoise, NoiseSource


class NoisySum:
    """Adds noise to a float32 sum over ranks and steps the optimiser on it.

    The step's gradient is (sum of clipped gradients + N(0, (noise_multiplier * max_grad_norm)^2)), divided by the
    public constant `expected_batch_size`, never by the size of the batch that was drawn. Rank 0 adds the noise, once
    for the sum of all ranks; every rank then holds the same gradient.

    Args:
        parameters: the trainable parameters; all ranks take rank 0's, since LoRA starts from random numbers.
        optimizer: holds exactly these.
        noise_multiplier: standard deviation of the noise in units of `max_grad_norm`, > 0.
        max_grad_norm: how far one unit can move the sum, in the Euclidean norm, > 0.
        expected_batch_size: mean number of units over all ranks, a public constant.
        noise: only for tests that need to know the noise.

    Raises:
        InvalidInputError: a number is not positive.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: int,
        noise: NoiseSource | None = None,
    ) -> None:
        require_positive(
            noise_multiplier=noise_multiplier, max_grad_norm=max_grad_norm, expected_batch_size=expected_batch_size
        )
        self.parameters = parameters
        self._optimizer = optimizer
        self._deviation = noise_multiplier * max_grad_norm
        self._expected_batch_size = expected_batch_size
        self._noise = noise or FreshNoise()
        self._sum, self.totals = self.empty()
        if _ranked():
            for parameter in parameters:
                distributed.broadcast(parameter.data, src=0)

    def empty(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """A flat sum of zeros with its windows, one in the shape of each parameter."""
        flat = torch.zeros(sum(p.numel() for p in self.parameters), device=self.parameters[0].device)
        pieces = flat.split([parameter.numel() for parameter in self.parameters])
        return flat, [piece.view_as(parameter) for piece, parameter in zip(pieces, self.parameters, strict=True)]

    def step(self) -> None:
        """Add noise, sum over ranks, divide by the expected batch size, step the optimiser, start a new sum.

        Raises:
            InvalidInputError: a parameter holds a gradient that was not clipped.
        """
        self.refuse_foreign_gradients()
        ranked = _ranked()
        if not ranked or distributed.get_rank() == 0:
            self._noise.add_normal(self._sum, self._deviation)
        if ranked:
            distributed.all_reduce(self._sum)
        self._sum /= self._expected_batch_size
        for parameter, total in zip(self.parameters, self.totals, strict=True):
            parameter.grad = total
        self._optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        self._sum.zero_()

    def refuse_foreign_gradients(self) -> None:
        """
        Raises:
            InvalidInputError: a parameter holds a gradient that was not clipped.
        """
        if any(parameter.grad is not None for parameter in self.parameters):
            raise InvalidInputError("a parameter holds an unclipped gradient; use the private engine's backward only")


def require_positive(**numbers: float) -> None:
    """
    Raises:
        InvalidInputError: a number is not positive and finite; it is named.
    """
    for name, number in numbers.items():
        if not 0 < number < float("inf"):
            raise InvalidInputError(f"{name} must be a positive number, not {number}", field=name)


def _ranked() -> bool:
    return distributed.is_available() and distributed.is_initialized()
