"""One score from two legs: convex combination of normalised scores, or of reciprocal ranks."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

RANK_CONSTANT: Final = 60.0
"""k of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)."""


def combine(lexical: Singles, dense: Singles, floor: float, tau: float) -> Singles:
    """(1 - tau) * lexical + tau * dense over candidates, each scaled to [0, 1] (Bruch, Gai and Ingber 2023).

    Lexical scores are scaled by their highest; dense ones from `floor`, the lowest that the dense leg returned, up to
    their highest. A leg without spread counts for nothing.
    """
    highest = float(lexical.max(initial=0.0))
    first = lexical / highest if highest > 0 else np.zeros_like(lexical)
    span = float(dense.max(initial=floor)) - floor
    second = np.clip((dense - floor) / span, 0.0, None) if span > 0 else np.zeros_like(dense)
    fused: Singles = ((1.0 - tau) * first + tau * second).astype(np.float32)
    return fused


def reciprocal_ranks(lexical: Singles, dense: Singles) -> Singles:
    """Sum of 1 / (60 + rank) in either order; ties go to the earlier candidate."""
    fused = np.zeros(len(lexical), dtype=np.float32)
    for scores in (lexical, dense):
        ranks = np.empty(len(scores), dtype=np.float32)
        ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
        fused += (1.0 / (RANK_CONSTANT + ranks)).astype(np.float32)
    return fused
