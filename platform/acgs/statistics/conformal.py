"""Class-conditional (Mondrian) split conformal prediction for two classes (Vovk et al. 2005, ch. 4)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Band:
    """The two cuts. 'violate' stays possible from `violate_from` up, 'comply' up to `comply_to`."""

    violate_from: float
    comply_to: float

    def decide(self, score: float) -> str:
        """`violate` or `comply` where one alone is possible, else `uncertain`."""
        may_violate = score >= self.violate_from
        may_comply = score <= self.comply_to
        if may_violate == may_comply:
            return "uncertain"
        return "violate" if may_violate else "comply"

    def leads_to(self, verdict: str, scores: Floats) -> NDArray[np.bool_]:
        """Which of the scores, of shape (n,), would be decided so; the same as `decide` on each."""
        may_violate, may_comply = scores >= self.violate_from, scores <= self.comply_to
        undecided: NDArray[np.bool_] = may_violate == may_comply
        if verdict == "uncertain":
            return undecided
        chosen: NDArray[np.bool_] = ~undecided & (may_violate if verdict == "violate" else may_comply)
        return chosen


def conformal_band(scores: Floats, violates: NDArray[np.bool_], alpha: float) -> Band:
    """Cuts such that each class's true label is excluded with probability at most `alpha` (exchangeable data).

    With too few scenarios of a class for `alpha` its label is never excluded, so nothing is decided against it.

    Raises:
        ValueError: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError("alpha must lie between 0 and 1")
    positives, negatives = np.sort(scores[violates]), np.sort(scores[~violates])
    rank = floor(alpha * (len(positives) + 1))
    violate_from = float(positives[rank - 1]) if rank >= 1 else -np.inf
    rank = ceil((1 - alpha) * (len(negatives) + 1))
    comply_to = float(negatives[rank - 1]) if rank <= len(negatives) else np.inf
    return Band(violate_from, comply_to)
