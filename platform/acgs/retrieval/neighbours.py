"""What the candidates of a query say of one another: documents that are alike tend to be relevant together.

The cluster hypothesis (van Rijsbergen 1979) as features: likeness to the first documents, which is pseudo-relevance
feedback (Rocchio 1971), and the scores of those that lie near (score regularisation, Diaz 2005).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

NEIGHBOUR_FEATURES: Final = ("first3", "first10", "neighbours")
"""first3, first10: mean inner product with the first 3 and 10, weighted by their scores; neighbours: mean score of the
others, weighted by how near they lie. A document is never its own neighbour."""
_FIRST: Final = (3, 10)
_SHARPNESS: Final = np.float32(10.0)
"""Of exp(sharpness * (inner product - 1)): at .7 a neighbour counts a twentieth of a double."""
_LEAST: Final = np.float32(1e-9)


def neighbour_features(vectors: Singles, scores: Singles) -> Singles:
    """Features of `NEIGHBOUR_FEATURES`, shape (candidates, 3).

    Args:
        vectors: (candidates, width), of length 1, the best candidate first.
        scores: (candidates,) of the first stage, falling.
    """
    likeness = vectors @ vectors.T
    likeness.flat[:: len(scores) + 1] = 0
    weights = np.zeros((len(scores), len(_FIRST)), dtype=np.float32)
    for column, count in enumerate(_FIRST):
        weights[:count, column] = scores[:count]
    feedback = likeness @ weights / (weights.sum(axis=0) - weights + _LEAST)
    near = np.exp(_SHARPNESS * (likeness - 1))
    near.flat[:: len(scores) + 1] = 0
    around = near @ scores / (near.sum(axis=1) + _LEAST)
    return np.concatenate([feedback, around[:, None]], axis=1)
