"""Ways to get the clipped sum of per-example gradients, behind one interface; which one runs never changes the sum."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch

from acgs.errors import AcgsError


class NonFiniteGradientError(AcgsError):
    """A loss or gradient is NaN or infinite, so that it cannot be clipped; nothing was added to the sum."""

    code = "non_finite_gradient"

    def __init__(self) -> None:
        super().__init__("a loss or gradient is not finite; resume from the last checkpoint with a lower learning rate")


class ClippingMethod(Protocol):
    """Computes clipped sums for the trainable parameters of one model."""

    def add_clipped_sums(self, losses: torch.Tensor, max_grad_norm: float, totals: list[torch.Tensor]) -> None:
        """Run the backward pass of `losses` and add the clipped gradients to `totals`, one tensor per parameter.

        Raises:
            NonFiniteGradientError: a gradient is NaN or infinite.
        """
        ...

    def suspended(self) -> AbstractContextManager[None]:
        """The model as it was: inside, its forward and backward passes are ordinary ones."""
        ...

    def close(self) -> None:
        """Leave the model as it was found."""
        ...


def require_finite(values: torch.Tensor) -> None:
    """Refuse losses or norms that are NaN or infinite.

    Raises:
        NonFiniteGradientError: one is.
    """
    if not bool(torch.isfinite(values).all()):
        raise NonFiniteGradientError


def clip_weights(squared_norms: torch.Tensor, max_grad_norm: float) -> torch.Tensor:
    """Factor per example that brings its gradient's Euclidean norm to at most `max_grad_norm`.

    Raises:
        NonFiniteGradientError: a norm is NaN or infinite.
    """
    require_finite(squared_norms)
    return (max_grad_norm / squared_norms.sqrt()).clamp(max=1.0)
