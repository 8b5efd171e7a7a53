"""Bounds that hold at every look at a growing stream, so that one may watch it and stop at any time.

Each bound errs with probability at most alpha over the whole stream, however often one looks; a lower and an upper one
together with at most 2 alpha. Evidence is kept as the logarithm of a wealth that starts at 1 and, if the hypothesis is
true, ever reaches 1 / alpha with probability at most alpha (Ville 1939): `log wealth >= log(1 / alpha)` rejects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats, InsufficientDataError, sample, share

ALPHA: Final = 0.05

_TRUNCATION: Final = 0.5
"""No bet risks more than this part of the wealth (Waudby-Smith and Ramdas 2023, c in eq. 26)."""
_HALVINGS: Final = 50
"""Bisection ends at the range of the values times 2 ** -50."""


@dataclass(slots=True)
class Betting:
    """Evidence that the mean of values in [low, high] is above (or below) `mean`, by betting on each value in turn.

    The hedged capital process of Waudby-Smith and Ramdas 2023 (JRSS B 86:1, section 4.2), one side, with predictable
    plug-in bets. It assumes nothing but the range and that each value's conditional mean is the same. Memory does not
    grow with the stream. Many streams may run at once: the leading axes of the values.
    """

    mean: float
    low: float
    high: float
    alternative: Literal["above", "below"]
    alpha: float = ALPHA
    count: int = field(default=0, init=False)
    log_wealth: Floats = field(default_factory=lambda: np.zeros(()), init=False)
    """After the last value, one per stream."""
    _total: Floats = field(default_factory=lambda: np.zeros(()), init=False)
    _squares: Floats = field(default_factory=lambda: np.zeros(()), init=False)

    def __post_init__(self) -> None:
        share(self.alpha, "alpha")
        if not self.low < self.mean < self.high:
            raise InvalidInputError(f"the mean must lie inside ({self.low:g}, {self.high:g})", field="mean")

    def update(self, values: Floats) -> Floats:
        """Bet on further values, shape (..., n); the log wealth after each of them, same shape.

        Raises:
            InvalidInputError: a value outside [low, high]; nothing is changed.
        """
        if not ((values >= self.low) & (values <= self.high)).all():
            raise InvalidInputError(f"a value lies outside [{self.low:g}, {self.high:g}]", field="values")
        if values.shape[-1] == 0:
            return np.zeros(values.shape)
        unit, mean = (values - self.low) / (self.high - self.low), (self.mean - self.low) / (self.high - self.low)
        if self.alternative == "below":
            unit, mean = 1 - unit, 1 - mean
        seen = self.count + np.arange(1, values.shape[-1] + 1)
        total = self._total[..., None] + np.cumsum(unit, axis=-1)
        squares = self._squares[..., None] + np.cumsum((unit - (0.5 + total) / (seen + 1)) ** 2, axis=-1)
        # The bet on a value may know the values before it only.
        known = np.concatenate([self._squares[..., None] + np.zeros_like(total[..., :1]), squares[..., :-1]], axis=-1)
        variance = (0.25 + known) / seen
        bets = np.sqrt(2 * log(1 / self.alpha) / (variance * seen * np.log1p(seen)))
        path: Floats = self.log_wealth[..., None] + np.cumsum(
            np.log1p(np.minimum(bets, _TRUNCATION / mean) * (unit - mean)), axis=-1
        )
        self.count = int(seen[-1])
        self._total, self._squares = np.asarray(total[..., -1]), np.asarray(squares[..., -1])
        self.log_wealth = np.asarray(path[..., -1])
        return path

    @property
    def rejects(self) -> bool:
        """Whether the evidence after the last value of a single stream is enough at `alpha`."""
        return bool(self.log_wealth >= log(1 / self.alpha))


def betting_bounds(values: ArrayLike, low: float, high: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Lower and upper bound of the mean of values in [low, high], each valid at any stopping time (see `Betting`).

    Raises:
        InvalidInputError: a value outside [low, high] or not finite.
        InsufficientDataError: no values.
    """
    data = sample(values, "values")
    return _edge(data, low, high, alpha, "above"), _edge(data, low, high, alpha, "below")


def _edge(data: Floats, low: float, high: float, alpha: float, alternative: Literal["above", "below"]) -> float:
    """The wealth falls as the tried mean moves towards the data, so the last rejected mean is found by bisection."""
    rejected, kept = (low, high) if alternative == "above" else (high, low)
    for _ in range(_HALVINGS):
        middle = (rejected + kept) / 2
        bet = Betting(middle, low, high, alternative, alpha)
        bet.update(data)
        rejected, kept = (middle, kept) if bet.rejects else (rejected, middle)
    return rejected


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
