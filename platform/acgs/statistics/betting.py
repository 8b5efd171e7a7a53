"""Evidence about the mean of bounded values, gathered by betting on each value in turn, and valid at every look.

A gambler who starts with 1 and bets fairly under a hypothesis ever reaches 1 / alpha with probability at most alpha if
the hypothesis is true (Ville 1939), so a `log wealth >= log(1 / alpha)` rejects it. Nothing is assumed but the range of
the values and their conditional mean. Waudby-Smith and Ramdas 2023, JRSS B 86:1.

Many streams may run at once: they are the leading axes of the values. Memory does not grow with the streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats, sample, share

ALPHA: Final = 0.05

Alternative = Literal["above", "below"]

_AT_STAKE: Final = 0.5
"""No bet of `Betting` risks more than this part of the wealth (c in eq. 26 of the source)."""
_AT_STAKE_FOR_CHANGE: Final = 0.9
"""A detector bets on one size of change, so it may risk more."""
_HALVINGS: Final = 50
"""Bisection ends at the range of the values times 2 ** -50."""


@dataclass(slots=True)
class _Bettor:
    """Bets on values in [low, high] against the hypothesis that their mean is `mean`, and learns their variance."""

    mean: float
    low: float
    high: float
    alternative: Alternative
    count: int = 0
    total: Floats = field(default_factory=lambda: np.zeros(()))
    squares: Floats = field(default_factory=lambda: np.zeros(()))

    def __post_init__(self) -> None:
        if not self.low < self.mean < self.high:
            raise InvalidInputError(f"the mean must lie inside ({self.low:g}, {self.high:g})", field="mean")

    def log_returns(
        self, values: Floats, size: Callable[[Floats, NDArray[np.int64]], Floats], at_stake: float
    ) -> Floats:
        """Log of the factor by which each value changes the wealth, same shape.

        Args:
            values: shape (..., n).
            size: the bet, from the variance of the values before (in units of the range) and the number of the value.
        """
        if not ((values >= self.low) & (values <= self.high)).all():
            raise InvalidInputError(f"a value lies outside [{self.low:g}, {self.high:g}]", field="values")
        if values.shape[-1] == 0:
            return np.zeros(values.shape)
        unit, mean = (values - self.low) / (self.high - self.low), (self.mean - self.low) / (self.high - self.low)
        if self.alternative == "below":
            unit, mean = 1 - unit, 1 - mean
        seen = self.count + np.arange(1, values.shape[-1] + 1)
        total = self.total[..., None] + np.cumsum(unit, axis=-1)
        squares = self.squares[..., None] + np.cumsum((unit - (0.5 + total) / (seen + 1)) ** 2, axis=-1)
        # The bet on a value may know the values before it only.
        known = np.concatenate([self.squares[..., None] + np.zeros_like(total[..., :1]), squares[..., :-1]], axis=-1)
        bets = np.minimum(size((0.25 + known) / seen, seen), at_stake / mean)
        self.count, self.total, self.squares = int(seen[-1]), np.asarray(total[..., -1]), np.asarray(squares[..., -1])
        returns: Floats = np.log1p(bets * (unit - mean))
        return returns


class Betting:
    """Evidence that the mean of values in [low, high] is above (or below) `mean`.

    One side of the hedged capital process with predictable plug-in bets (section 4.2 of the source).

    Raises:
        InvalidInputError: `mean` not inside (low, high), or `alpha` outside (0, 1).
    """

    def __init__(self, mean: float, low: float, high: float, alternative: Alternative, alpha: float = ALPHA) -> None:
        self._enough = log(1 / share(alpha, "alpha"))
        self._bettor = _Bettor(mean, low, high, alternative)
        self.log_wealth: Floats = np.zeros(())
        """After the last value, one per stream."""

    @property
    def count(self) -> int:
        """Values seen, per stream."""
        return self._bettor.count

    @property
    def rejects(self) -> NDArray[np.bool_]:
        """Whether the evidence after the last value is enough at alpha, one per stream."""
        return np.asarray(self.log_wealth >= self._enough)

    def update(self, values: Floats) -> Floats:
        """Bet on further values, shape (..., n); the log wealth after each of them, same shape.

        Raises:
            InvalidInputError: a value outside [low, high]; nothing is changed.
        """
        path: Floats = self.log_wealth[..., None] + np.cumsum(
            self._bettor.log_returns(values, self._bet, _AT_STAKE), axis=-1
        )
        if path.shape[-1]:
            self.log_wealth = np.asarray(path[..., -1])
        return path

    def _bet(self, variance: Floats, number: NDArray[np.int64]) -> Floats:
        bets: Floats = np.sqrt(2 * self._enough / (variance * number * np.log1p(number)))
        return bets


def betting_bounds(values: ArrayLike, low: float, high: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Lower and upper bound of the mean of values in [low, high], each valid at any stopping time (see `Betting`).

    Raises:
        InvalidInputError: a value outside [low, high] or not finite.
        InsufficientDataError: no values.
    """
    data = sample(values, "values")
    return _edge(data, low, high, alpha, "above"), _edge(data, low, high, alpha, "below")


def clustered_betting_bounds(
    values: ArrayLike, clusters: NDArray[np.int64], low: float, high: float, *, alpha: float = ALPHA
) -> tuple[float, float]:
    """`betting_bounds` of the mean of rows that stand in clusters, by bets on the clusters' sums.

    Every cluster counts as large as the largest, so that it holds however alike the rows of one are.

    Args:
        values: shape (n,), in [low, high], which holds 0.
        clusters: numbers from 0, none left out, shape (n,).
    """
    data, sizes = sample(values, "values"), np.bincount(clusters)
    largest = int(sizes.max())
    scale = largest * len(sizes) / len(data)
    lower, upper = betting_bounds(np.bincount(clusters, weights=data) / largest, low, high, alpha=alpha)
    return lower * scale, upper * scale


def _edge(data: Floats, low: float, high: float, alpha: float, alternative: Alternative) -> float:
    """The wealth falls as the tried mean moves towards the data, so the last rejected mean is found by bisection."""
    rejected, kept = (low, high) if alternative == "above" else (high, low)
    for _ in range(_HALVINGS):
        middle = (rejected + kept) / 2
        bet = Betting(middle, low, high, alternative, alpha)
        bet.update(data)
        rejected, kept = (middle, kept) if bet.rejects else (rejected, middle)
    return rejected


class ChangeWatch:
    """Evidence that the mean of a stream has moved, at some look, above (or below) `mean`, after any quiet time.

    `Betting` weighs all values since its start, so a long good past hides a fresh loss. This one divides its wealth
    evenly over the looks, one gambler starting at each (a Shiryaev-Roberts sum with a prior; Shin, Ramdas and Rinaldo
    2024, e-detectors, NEJSDS 2:2), and bets for a change of one size. Over `looks` looks it alarms falsely with
    probability at most alpha, then it is spent and a new one has to take over. The price is log(looks) of evidence.

    Args:
        shift: smallest change of the mean worth finding, above 0, in the values' unit.
        looks: number of calls of `update` that alpha is to cover.

    Raises:
        InvalidInputError: `mean` not inside (low, high), `alpha` outside (0, 1), no looks, or a shift not above 0.
    """

    def __init__(
        self,
        mean: float,
        low: float,
        high: float,
        alternative: Alternative,
        *,
        shift: float,
        looks: int,
        alpha: float = ALPHA,
    ) -> None:
        if not 0 < shift < high - low or looks < 1:
            raise InvalidInputError("name a shift above 0 inside the range, and at least 1 look", field="shift")
        self._enough = log(1 / share(alpha, "alpha"))
        self._bettor = _Bettor(mean, low, high, alternative)
        self._shift = shift / (high - low)
        self._looks_left, self._each = looks, -log(looks)
        self._started: Floats = np.full((), -np.inf)

    @property
    def alarm(self) -> NDArray[np.bool_]:
        """Whether the evidence at the last look is enough at alpha, one per stream."""
        return np.asarray(self._started >= self._enough)

    def update(self, values: Floats) -> Floats:
        """One look at the values since the last, shape (..., n); the log wealth of the gamblers started so far.

        Raises:
            InvalidInputError: a value outside [low, high], or all looks are spent; nothing is changed.
        """
        if not self._looks_left:
            raise InvalidInputError("all looks are spent; start a new watch with an alpha of its own", field="looks")
        gained = self._bettor.log_returns(values, self._bet, _AT_STAKE_FOR_CHANGE).sum(axis=-1)
        self._started = np.asarray(np.logaddexp(self._started, self._each) + gained)
        self._looks_left -= 1
        return self._started

    def _bet(self, variance: Floats, number: NDArray[np.int64]) -> Floats:
        """The bet of greatest expected growth when the mean has moved by a small shift, whatever the value's number."""
        bets: Floats = self._shift / variance
        return bets
