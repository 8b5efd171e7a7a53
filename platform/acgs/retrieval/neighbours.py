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
_SHARPNESS: Final = 10.0
"""Of exp(sharpness * (inner product - 1)): at .7 a neighbour counts a twentieth of a double."""
_LEAST: Final = np.float32(1e-9)


def neighbour_features(vectors: Singles, scores: Singles) -> Singles:
    """Features of `NEIGHBOUR_FEATURES`, shape (candidates, 3).

    Args:
        vectors: (candidates, width), of length 1, the best candidate first.
        scores: (candidates,) of the first stage, falling.
    """
    likeness = vectors @ vectors.T
    columns = []
    for count in _FIRST:
        weights = scores[:count]
        own = np.zeros_like(scores)
        own[:count] = weights
        # Take each leader's likeness to itself out of its own mean.
        total = likeness[:, :count] @ weights - own * np.diagonal(likeness)
        columns.append(total / (weights.sum() - own + _LEAST))
    near = np.exp(_SHARPNESS * (likeness - 1))
    np.fill_diagonal(near, 0)
    columns.append(near @ scores / (near.sum(axis=1) + _LEAST))
    return np.stack(columns, axis=1).astype(np.float32)
