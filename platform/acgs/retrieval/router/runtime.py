"""The lookup: tables in, three numbers out. Neither LightGBM nor SciPy is needed here."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.retrieval.router.outputs import OUTPUTS, RouterColumns, RouterOutput
from acgs.retrieval.router.tables import Student
from acgs.statistics.evidence import Floats

_Line = tuple[float, float, float, float, float, float, float]
"""A segment: its left knot, then value at that knot and slope for tau, spend and gain."""
_Lookup = tuple[float, float, list[float], list[_Line]]
"""A feature: least and greatest knot, the knots between them, and one line a segment."""


class Router:
    """Predicts tau, spend and gain of queries.

    A feature outside the range that was seen in training counts as the nearest value that was seen; so does an infinite
    one. The predictions stay within the range of the teacher's.

    Args:
        names: of the features, in the order in which they are given to `predict`.
        knots: of each feature, strictly increasing.
        students: the tables of each output.
    """

    def __init__(self, names: Sequence[str], knots: Sequence[Floats], students: Mapping[str, Student]) -> None:
        self.feature_names = tuple(names)
        self._knots = tuple(knots)
        self._segments = [_segments(number, of, students) for number, of in enumerate(self._knots)]
        self._lookups: list[_Lookup] = [
            (float(of[0]), float(of[-1]), of[1:-1].tolist(), [tuple(row) for row in rows.tolist()])
            for of, rows in zip(self._knots, self._segments, strict=True)
        ]
        self._anchors = tuple(students[name].anchor for name in OUTPUTS)
        self._ranges = tuple((students[name].low, students[name].high) for name in OUTPUTS)

    def predict_one(self, features: Sequence[float]) -> RouterOutput:
        """The prediction for one query.

        Raises:
            InvalidInputError: not one number for each feature.
        """
        if len(features) != len(self._lookups):
            raise self._wrong_shape()
        tau, spend, gain = self._anchors
        for value, (low, high, inner, lines) in zip(features, self._lookups, strict=True):
            x = low if value < low else high if value > high else value
            left, tau_at, tau_slope, spend_at, spend_slope, gain_at, gain_slope = lines[bisect_right(inner, x)]
            x -= left
            tau += tau_at + tau_slope * x
            spend += spend_at + spend_slope * x
            gain += gain_at + gain_slope * x
        # Even a slope of 0 carries a NaN on.
        if tau != tau:  # noqa: PLR0124
            raise _not_a_number()
        (low_tau, high_tau), (low_spend, high_spend), (low_gain, high_gain) = self._ranges
        return RouterOutput(
            low_tau if tau < low_tau else high_tau if tau > high_tau else tau,
            low_spend if spend < low_spend else high_spend if spend > high_spend else spend,
            low_gain if gain < low_gain else high_gain if gain > high_gain else gain,
        )

    def predict(self, matrix: ArrayLike) -> RouterColumns:
        """The predictions for many queries, features of shape (n, d).

        Raises:
            InvalidInputError: another shape, or a feature that is not a number.
        """
        features = np.asarray(matrix, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != len(self._lookups):
            raise self._wrong_shape()
        totals = [np.full(len(features), anchor) for anchor in self._anchors]
        for column, knots, rows in zip(np.ascontiguousarray(features.T), self._knots, self._segments, strict=True):
            x = np.clip(column, knots[0], knots[-1])
            # Counting the knots passed beats a binary search: no branch to guess wrong.
            segment = np.zeros(len(x), dtype=np.uint8)
            for knot in knots[1:-1]:
                segment += x >= knot
            places = segment.astype(np.intp)
            x -= rows[:, 0].take(places)
            for number, total in enumerate(totals):
                at, slope = rows[:, 1 + 2 * number].take(places), rows[:, 2 + 2 * number].take(places)
                np.add(total, np.add(at, np.multiply(slope, x, out=slope), out=at), out=total)
        if np.isnan(totals[0]).any():
            raise _not_a_number()
        return RouterColumns(*(total.clip(*ends) for total, ends in zip(totals, self._ranges, strict=True)))

    def _wrong_shape(self) -> InvalidInputError:
        return InvalidInputError(f"the router takes these features: {', '.join(self.feature_names)}", field="features")


def _segments(number: int, knots: Floats, students: Mapping[str, Student]) -> Floats:
    """The lines of one feature, shape (segments, 7); a feature that does not vary has one, which is flat."""
    columns = [knots[:-1] if len(knots) > 1 else knots]
    for name in OUTPUTS:
        student = students[name]
        values = student.scale * student.tables[number].astype(np.float64)
        flat = len(knots) == 1
        columns += [values, np.zeros(1)] if flat else [values[:-1], np.diff(values) / np.diff(knots)]
    return np.stack(columns, axis=1)


def _not_a_number() -> InvalidInputError:
    return InvalidInputError("a feature is not a number; route the query by the default instead", field="features")
