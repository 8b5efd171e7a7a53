"""One score from two legs: a convex combination of normalised scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]


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
