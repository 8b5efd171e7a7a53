"""How many pairs a guard needs, and what a given number can show: one-sided paired tests in the normal approximation.

Source: Cohen 1988, section 2.3, with the standard deviation of the paired deltas in the place of the pooled one.
"""

from __future__ import annotations

from math import ceil, sqrt

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import CONFIDENCE, InsufficientDataError, share

POWER = 0.8


def pairs_needed(effect: float, deviation: float, *, confidence: float = CONFIDENCE, power: float = POWER) -> int:
    """Pairs at which a lower bound at `confidence` clears the margin with probability `power`.

    Args:
        effect: distance of the expected mean delta from the margin, above 0, in the deltas' unit.
        deviation: standard deviation of the paired deltas, in the same unit.

    Raises:
        InvalidInputError: an effect or deviation that is not above 0, or shares outside (0, 1).
    """
    _positive(effect, "effect")
    _positive(deviation, "deviation")
    return max(2, ceil((_reach(confidence, power) * deviation / effect) ** 2))


def detectable_effect(pairs: int, deviation: float, *, confidence: float = CONFIDENCE, power: float = POWER) -> float:
    """The effect, in the deltas' unit, that `pairs` pairs show with probability `power`.

    Raises:
        InvalidInputError: a deviation that is not above 0, or shares outside (0, 1).
        InsufficientDataError: fewer than 2 pairs.
    """
    _positive(deviation, "deviation")
    if pairs < 2:
        raise InsufficientDataError("fewer than 2 pairs show no effect of any size", field="pairs")
    return _reach(confidence, power) * deviation / sqrt(pairs)


def _reach(confidence: float, power: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share(confidence, "confidence")) + ndtri(share(power, "power")))


def _positive(value: float, name: str) -> None:
    if not 0 < value < float("inf"):
        raise InvalidInputError(f"{name} must be a number above 0", field=name)
