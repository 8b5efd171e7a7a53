"""Instances as rows of numbers, and arrays as JSON data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.serving.runtimes.runtime import ModelFailedError

_FIELD = "instances"


def matrix(instances: Sequence[Any], columns: Sequence[str]) -> NDArray[np.float64]:
    """Instances as rows, shape (instances, columns); null is NaN.

    An instance is an array of numbers, or an object whose values are put in the order of `columns`.

    Raises:
        InvalidInputError: they are neither, or not alike.
    """
    rows = [[row.get(name) for name in columns] if isinstance(row, dict) else row for row in instances]
    if any(not isinstance(row, list) or any(isinstance(value, str) for value in row) for row in rows):
        raise InvalidInputError("an instance is an array or an object of numbers", field=_FIELD)
    try:
        found = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise InvalidInputError("instances are arrays of numbers, all of one length", field=_FIELD) from None
    if found.ndim != 2:
        raise InvalidInputError("an instance is a flat array of numbers", field=_FIELD)
    return found


def plain(array: Any) -> list[Any]:
    """An array as JSON data.

    Raises:
        ModelFailedError: a number in it is not finite, which JSON cannot say.
    """
    found = np.asarray(array)
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ModelFailedError("the model gave a value that is no finite number")
    values: list[Any] = found.tolist()
    return values
