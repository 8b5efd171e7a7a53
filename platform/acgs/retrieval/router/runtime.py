"""The lookup: tables in, three numbers out. Neither LightGBM nor SciPy is needed here."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.retrieval.router.outputs import OUTPUTS, RouterColumns, RouterOutput
from acgs.retrieval.router.tables import Student
from acgs.statistics.evidence import Floats

_ROWS_AT_ONCE: Final = 16_384
"""So many rows of a few columns stay in the processor's cache."""
_Line = tuple[float, float, float, float, float, float, float]
"""A segment: its left knot, then value at that knot and slope for tau, spend and gain."""
_Lookup = tuple[list[float], list[_Line]]
"""A feature: its knots, and a line below the first, one between each two, and one beyond the last."""


class Router:
    """Predicts tau, spend and gain of queries.

    A feature outside the range that was seen in training counts as the nearest value that was seen. The predictions
    stay within the range of the teacher's.

    Args:
        names: of the features, in the order in which they are given to `predict`.
        knots: of each feature, strictly increasing.
        students: the tables of each output.

    Raises:
        InvalidInputError: a table is too steep for a float.
    """

    def __init__(self, names: Sequence[str], knots: Sequence[Floats], students: Mapping[str, Student]) -> None:
        self.feature_names = tuple(names)
        self._knots = tuple(knots)
        self._segments = [_segments(number, of, students) for number, of in enumerate(self._knots)]
        if not all(np.isfinite(lines).all() for lines in self._segments):
            raise InvalidInputError("two knots lie so close that a table has no slope; distil again", field="knots")
        self._lookups: list[_Lookup] = [
            (of.tolist(), [tuple(row) for row in rows.tolist()])
            for of, rows in zip(self._knots, self._segments, strict=True)
        ]
        self._anchors = tuple(students[name].anchor for name in OUTPUTS)
        self._ranges = tuple((students[name].low, students[name].high) for name in OUTPUTS)

    def predict_one(self, features: Sequence[float]) -> RouterOutput:
        """The prediction for one query.

        Raises:
            InvalidInputError: not one finite number for each feature.
        """
        if len(features) != len(self._lookups):
            raise self._wrong_shape()
        tau, spend, gain = self._anchors
        for value, (knots, lines) in zip(features, self._lookups, strict=True):
            left, tau_at, tau_slope, spend_at, spend_slope, gain_at, gain_slope = lines[bisect_right(knots, value)]
            x = value - left
            tau += tau_at + tau_slope * x
            spend += spend_at + spend_slope * x
            gain += gain_at + gain_slope * x
        # Even a slope of 0 makes NaN of a NaN or an infinity.
        if tau != tau:  # noqa: PLR0124
            raise _not_finite()
        (low_tau, high_tau), (low_spend, high_spend), (low_gain, high_gain) = self._ranges
        return RouterOutput(
            low_tau if tau < low_tau else high_tau if tau > high_tau else tau,
            low_spend if spend < low_spend else high_spend if spend > high_spend else spend,
            low_gain if gain < low_gain else high_gain if gain > high_gain else gain,
        )

    def predict(self, matrix: ArrayLike) -> RouterColumns:
        """The predictions for many queries, features of shape (n, d).

        Raises:
            InvalidInputError: another shape, or a feature that is not a finite number.
        """
        features = np.asarray(matrix, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != len(self._lookups):
            raise self._wrong_shape()
        if not np.isfinite(features).all():
            raise _not_finite()
        totals = np.empty((len(OUTPUTS), len(features)))
        for start in range(0, len(features), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            totals[:, rows] = self._sums(np.ascontiguousarray(features[rows].T))
        return RouterColumns(*(total.clip(*ends) for total, ends in zip(totals, self._ranges, strict=True)))

    def _sums(self, columns: Floats) -> list[Floats]:
        """Each output of some queries, features of shape (d, m)."""
        totals = [np.full(columns.shape[1], anchor) for anchor in self._anchors]
        for column, knots, lines in zip(columns, self._knots, self._segments, strict=True):
            # Counting the knots passed beats a binary search: no branch to guess wrong.
            segment = np.zeros(len(column), dtype=np.uint8)
            for knot in knots:
                segment += column >= knot
            places = segment.astype(np.intp)
            x = column - lines[:, 0].take(places)
            for number, total in enumerate(totals):
                at, slope = lines[:, 1 + 2 * number].take(places), lines[:, 2 + 2 * number].take(places)
                np.add(total, np.add(at, np.multiply(slope, x, out=slope), out=at), out=total)
        return totals

    def _wrong_shape(self) -> InvalidInputError:
        return InvalidInputError(f"the router takes these features: {', '.join(self.feature_names)}", field="features")


def _segments(number: int, knots: Floats, students: Mapping[str, Student]) -> Floats:
    """The lines of one feature, shape (knots + 1, 7); the first and the last are flat."""
    columns = [np.concatenate([knots[:1], knots])]
    for name in OUTPUTS:
        values = students[name].scale * students[name].tables[number].astype(np.float64)
        with np.errstate(over="ignore"):
            slopes = np.diff(values) / np.diff(knots)
        columns += [np.concatenate([values[:1], values]), np.concatenate([[0.0], slopes, [0.0]])]
    return np.stack(columns, axis=1)


def _not_finite() -> InvalidInputError:
    return InvalidInputError(
        "a feature is not a finite number; route the query by the default instead", field="features"
    )
