"""Per-example gradients of one parameter, held in whichever form is smaller, with the two sums that clipping needs.

A layer `y = x W'` sees, for example i, activations x_i (T, d) and back-propagated gradients g_i (T, o); its gradient is
the sum over tokens of outer products, g_i' x_i. Either that (o, d) matrix is kept per example, or only the factors:
their norm follows from T x T products (ghost norm, Li et al. 2021, arXiv:2110.05679) and the clipped sum from one
contraction (book-keeping, Bu et al. 2022, arXiv:2210.00038). The factors of LoRA have r columns, so for T > r the
matrices are the smaller form, and cost what the ordinary gradient costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(slots=True)
class Matrices:
    """One gradient per example, shape (batch, *parameter)."""

    gradients: torch.Tensor

    def squared_norms(self) -> torch.Tensor:
        """Shape (batch,)."""
        return torch.linalg.vector_norm(self.gradients.flatten(1), dim=1).square()

    def add_weighted_sum(self, weights: torch.Tensor, total: torch.Tensor) -> None:
        """Add the sum of the gradients, example i times `weights[i]`, to `total` (shape of the parameter)."""
        total.view(-1).addmv_(self.gradients.flatten(1).T, weights)

    def matrices(self) -> Matrices:
        return self


@dataclass(slots=True)
class OuterFactors:
    """Gradients `left_i' right_i`, from left (batch, T, rows) and right (batch, T, columns)."""

    left: torch.Tensor
    right: torch.Tensor

    def squared_norms(self) -> torch.Tensor:
        """Shape (batch,): the inner product of the two T x T Gram matrices."""
        grams = (self.left @ self.left.mT) * (self.right @ self.right.mT)
        return grams.sum((1, 2)).clamp(min=0)

    def add_weighted_sum(self, weights: torch.Tensor, total: torch.Tensor) -> None:
        """As `Matrices.add_weighted_sum`, by one matrix product over all tokens."""
        weighted = self.left * weights[:, None, None]
        total.addmm_(weighted.flatten(0, 1).T, self.right.flatten(0, 1))

    def matrices(self) -> Matrices:
        return Matrices(self.left.mT @ self.right)


@dataclass(slots=True)
class RowFactors:
    """Gradients of a table of `rows`: token t of example i adds `gradients[i, t]` to row `ids[i, t]`."""

    ids: torch.Tensor
    gradients: torch.Tensor
    rows: int

    def squared_norms(self) -> torch.Tensor:
        """Shape (batch,): tokens of one row add up before they are squared."""
        same_row = self.ids[:, :, None] == self.ids[:, None, :]
        return ((self.gradients @ self.gradients.mT) * same_row).sum((1, 2)).clamp(min=0)

    def add_weighted_sum(self, weights: torch.Tensor, total: torch.Tensor) -> None:
        """As `Matrices.add_weighted_sum`, touching only the rows that occur."""
        weighted = self.gradients * weights[:, None, None]
        total.index_add_(0, self.ids.flatten(), weighted.flatten(0, 1))

    def matrices(self) -> Matrices:
        batch, length, width = self.gradients.shape
        tables = self.gradients.new_zeros(batch, self.rows, width)
        return Matrices(tables.scatter_add_(1, self.ids[:, :, None].expand(batch, length, width), self.gradients))


PerExample = Matrices | OuterFactors | RowFactors


def outer(left: torch.Tensor, right: torch.Tensor) -> PerExample:
    """The smaller form of the gradients `left_i' right_i`.

    Matrices may be computed in the activations' own type (bfloat16 under autocast), since norm and sum are then both
    taken from the same float32 copy; factors are widened first, because their norm and their sum are computed apart.
    """
    length, rows, columns = left.shape[1], left.shape[2], right.shape[2]
    if rows * columns <= length * (rows + columns):
        return Matrices((left.mT @ right).float())
    return OuterFactors(left.detach().float(), right.detach().float())


def added(one: PerExample, other: PerExample) -> PerExample:
    """Gradients of a parameter that was used twice: they add up per example before any norm is taken."""
    return Matrices(one.matrices().gradients + other.matrices().gradients)
