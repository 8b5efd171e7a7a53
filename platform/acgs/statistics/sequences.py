"""Bounds that hold at every look at a growing stream, so that one may watch it and stop at any time.

Each bound errs with probability at most alpha over the whole stream, however often one looks; a lower and an upper one
together with at most 2 alpha. `betting` bounds means of values in a known range without any further assumption.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.statistics.betting import ALPHA
from acgs.statistics.evidence import Floats, InsufficientDataError, sample, share


def normal_mixture_margin(count: ArrayLike, deviation: ArrayLike, *, alpha: float = ALPHA, tuned_for: int) -> Floats:
    """Margin around the running mean: mean - margin bounds the true mean from below at every count, with error alpha.

    The one-sided normal mixture of Howard et al. 2021 (Annals of Statistics 49:2) in its closed form. It holds for
    sub-Gaussian values whose scale is known; with the running standard deviation it is the asymptotic sequence of
    Waudby-Smith et al. 2024 (Annals of Statistics 52:6) and wants the first look after some hundred values.

    Args:
        count: number of values at each look, any shape.
        deviation: standard deviation of one value, in the values' unit; broadcast against `count`.
        tuned_for: the count at which the margin is to be tightest; to be fixed before looking.

    Raises:
        InvalidInputError: a deviation below 0, or `alpha` outside (0, 1/2).
        InsufficientDataError: a count below 1.
    """
    n, scale = np.asarray(count, dtype=np.float64), np.asarray(deviation, dtype=np.float64)
    if not n.size or (n < 1).any():
        raise InsufficientDataError("a mean of no values has no margin; look after the first value", field="count")
    if not (scale >= 0).all():
        raise InvalidInputError("a standard deviation must be a number of at least 0", field="deviation")
    rho = _mixture_precision(tuned_for, 2 * share(alpha, "alpha"))
    margin: Floats = scale / n * np.sqrt(2 * (n + rho) * np.log1p(np.sqrt((n + rho) / rho) / (2 * alpha)))
    return margin


def quantile_log_wealth(
    at_or_below: ArrayLike, count: ArrayLike, quantile: float, *, tuned_for: int, alpha: float = ALPHA
) -> Floats:
    """Evidence that a threshold lies below the quantile: too few of `count` values are at or below the threshold.

    The beta-binomial mixture of Howard and Ramdas 2022 (Bernoulli 28:3, section 3.2), one-sided: the mixed-over
    probabilities are those below `quantile`. For "above" count the values above the threshold against 1 - quantile.

    Args:
        at_or_below, count: whole numbers, broadcast against each other.
        tuned_for: the count at which the evidence is to grow fastest; to be fixed before looking.

    Raises:
        InvalidInputError: not 0 <= at_or_below <= count, or a share outside (0, 1).
    """
    from scipy.special import betainc, betaln

    below, n = np.broadcast_arrays(np.asarray(at_or_below, np.float64), np.asarray(count, np.float64))
    if not ((below >= 0) & (below <= n)).all():
        raise InvalidInputError(
            "the values at or below the threshold must lie between 0 and count", field="at_or_below"
        )
    p = share(quantile, "quantile")
    strength = _mixture_precision(tuned_for, 2 * share(alpha, "alpha"))
    a, b = p * strength, (1 - p) * strength
    with np.errstate(divide="ignore"):  # no evidence at all is log(0)
        mixed = np.log(betainc(a + below, b + n - below, p)) - np.log(betainc(a, b, p))
    wealth: Floats = (
        mixed + betaln(a + below, b + n - below) - betaln(a, b) - below * log(p) - (n - below) * np.log1p(-p)
    )
    return wealth


def quantile_bounds(values: ArrayLike, quantile: float, *, tuned_for: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Lower and upper bound of a quantile, valid at any stopping time; ties and any law of the values are allowed.

    Returns:
        Two of the values; -inf or inf on a side where there are too few values to say anything.

    Raises:
        InvalidInputError: a value that is not finite, or a share outside (0, 1).
        InsufficientDataError: no values.
    """
    data = np.sort(sample(values, "values"))
    n, counts, enough = len(data), np.arange(len(data) + 1), log(1 / alpha)
    too_low = quantile_log_wealth(counts, n, quantile, tuned_for=tuned_for, alpha=alpha) >= enough
    too_high = quantile_log_wealth(counts, n, 1 - quantile, tuned_for=tuned_for, alpha=alpha) >= enough
    first, last = int(too_low.sum()), n - int(too_high.sum())
    return float(data[first - 1]) if first else -np.inf, float(data[last]) if last < n else np.inf


def _mixture_precision(tuned_for: int, alpha: float) -> float:
    """Precision that makes the two-sided boundary nearly tightest at `tuned_for` (Howard et al. 2021, section 3.5)."""
    if tuned_for < 1:
        raise InvalidInputError("tuned_for must be at least 1", field="tuned_for")
    if alpha >= 1:
        raise InvalidInputError("alpha must lie below 1/2", field="alpha")
    return tuned_for / (2 * log(1 / alpha) + log(1 + 2 * log(1 / alpha)))
