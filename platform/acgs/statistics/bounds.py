"""Confidence bounds that need no model: for a proportion, and for the mean of bounded values."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.statistics.betting import clustered_betting_bounds
from acgs.statistics.evidence import CONFIDENCE, InsufficientDataError, sample, share

Z_95 = 1.959963984540054
"""Two-sided 95 % normal quantile."""


def wilson_interval(successes: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval (Wilson 1927) for `successes` of `n`; the counts may be effective, not whole.

    Returns:
        (lower, upper) in [0, 1]; (0, 1), the state of knowing nothing, when `n` is 0.

    Raises:
        ValueError: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError("successes must lie between 0 and n")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the exact bound is 0 or 1, which rounding would miss.
    lower = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    upper = 1.0 if successes == n else min(1.0, (centre + spread) / scale)
    return lower, upper


def wilson_lower(successes: float, n: float, z: float = Z_95) -> float:
    """Lower end of the Wilson interval; 0 without data."""
    return wilson_interval(successes, n, z)[0]


def proportion_upper(successes: int, n: int, *, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound of a proportion (Clopper and Pearson 1934); holds for every n and every proportion.

    Raises:
        InvalidInputError: not 0 <= successes <= n, or `confidence` outside (0, 1).
        InsufficientDataError: n is 0.
    """
    from scipy.stats import beta

    share(confidence, "confidence")
    if not 0 <= successes <= n:
        raise InvalidInputError("successes must lie between 0 and n", field="successes")
    if n == 0:
        raise InsufficientDataError("a proportion of nothing has no bound; collect data", field="n")
    return 1.0 if successes == n else float(beta.ppf(confidence, successes + 1, n - successes))


def clustered_share(
    successes: ArrayLike, clusters: ArrayLike, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Lower and upper bound of a share of rows that stand in clusters, each one-sided at `confidence`.

    Where each stands alone these are Clopper's and Pearson's, else those of `clustered_betting_bounds`.

    Args:
        successes: 0 or 1, shape (n,).
        clusters: any labels, shape (n,).

    Raises:
        InsufficientDataError: no rows.
    """
    values, member = sample(successes, "successes"), np.unique(np.asarray(clusters), return_inverse=True)[1]
    n, sizes = len(values), np.bincount(member)
    good = int(values.sum())
    if len(sizes) == n:
        lower = 1 - proportion_upper(n - good, n, confidence=confidence)
        return lower, proportion_upper(good, n, confidence=confidence)
    most_missed, most = (
        clustered_betting_bounds(each, member, 0.0, 1.0, alpha=1 - confidence)[1] for each in (1 - values, values)
    )
    return max(0.0, 1 - most_missed), min(1.0, most)


def disagreement_lower(deltas: ArrayLike, *, span: float = 1.0, confidence: float = CONFIDENCE) -> float:
    """Lower bound of the mean of paired deltas, most of which are exactly 0 because both sides answer alike.

    A delta is at least -span, so the mean is at least -span times the share of pairs that differ, which is bounded
    exactly. It holds where a bootstrap has nothing to resample: when no pair differs it is about -3 span / n.

    Args:
        deltas: candidate minus baseline, shape (n,), in [-span, span].

    Raises:
        InvalidInputError: a delta outside [-span, span] or not finite.
        InsufficientDataError: no deltas.
    """
    values = sample(deltas, "deltas")
    if abs(values).max() > span:
        raise InvalidInputError(f"a delta lies outside [-{span:g}, {span:g}]; name the true span", field="deltas")
    return -span * proportion_upper(int((values != 0).sum()), len(values), confidence=confidence)


def empirical_bernstein_lower(values: ArrayLike, low: float, high: float, *, confidence: float = CONFIDENCE) -> float:
    """Lower bound of the mean of values in [low, high] (Maurer and Pontil 2009, theorem 4), whatever their law.

    At a few hundred values it is several times wider than a bootstrap: an explanation, not a gate.

    Raises:
        InvalidInputError: a value outside [low, high] or not finite.
        InsufficientDataError: fewer than 2 values.
    """
    data = sample(values, "values", at_least=2)
    if data.min() < low or data.max() > high:
        raise InvalidInputError(f"a value lies outside [{low:g}, {high:g}]", field="values")
    n, odds = len(data), log(2 / (1 - share(confidence, "confidence")))
    margin = sqrt(2 * data.var(ddof=1) * odds / n) + 7 * (high - low) * odds / (3 * (n - 1))
    return max(low, float(data.mean() - margin))
