"""What every statistic says about its evidence: a verdict of three states, and an error where the data are too few."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acgs.errors import AcgsError, InvalidInputError

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""Confidence of each single bound, one-sided; a lower and an upper bound hold together with 2 * confidence - 1."""


class Verdict(StrEnum):
    """The answer of a check. INSUFFICIENT: the data cannot tell, which is never a pass."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    INSUFFICIENT = "INSUFFICIENT"


class InsufficientDataError(AcgsError):
    """There are too few data, or data without variation, to support any number."""

    code = "insufficient_data"


def sample(values: ArrayLike, name: str, *, at_least: int = 1) -> Floats:
    """The values as a float vector of shape (n,).

    Raises:
        InvalidInputError: not a vector, or a value that is not a finite number.
        InsufficientDataError: fewer than `at_least` values.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise InvalidInputError(f"{name} must be one list of numbers, not of shape {vector.shape}", field=name)
    if not np.isfinite(vector).all():
        raise InvalidInputError(f"{name} holds values that are not finite numbers; remove or mend them", field=name)
    if len(vector) < at_least:
        raise InsufficientDataError(f"{name} holds {len(vector)} values and needs {at_least}; collect more", field=name)
    return vector


def share(value: float, name: str) -> float:
    """`value` if it lies strictly between 0 and 1.

    Raises:
        InvalidInputError: it does not.
    """
    if not 0 < value < 1:
        raise InvalidInputError(f"{name} must lie strictly between 0 and 1", field=name)
    return value
