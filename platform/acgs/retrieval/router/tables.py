"""The student: a sum of piecewise-linear tables, one a feature, fitted under monotone constraints and kept as int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.statistics.evidence import Floats

SEGMENTS: Final = 16
LARGEST: Final = 127
"""Largest entry of a table; -128 is left out, so that the range is symmetric."""
_NARROWEST: Final = 1e-9
"""Least width of a segment, as a part of the feature's range."""
_RIDGE: Final = 10.0
"""Pull of every increment towards 0, in observations: it settles what few queries leave open."""

Table = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Student:
    """One output: anchor + scale * (sum of the tables' readings), kept within [low, high].

    The anchor is the output where every table reads 0. One scale serves all tables, so that rounding, which keeps the
    order of a table's entries, is the only step between the fitted tables and these.
    """

    anchor: float
    scale: float
    tables: tuple[Table, ...]
    """One a feature, each as long as the feature's knots."""
    low: float
    high: float


def place_knots(column: Floats, segments: int = SEGMENTS) -> Floats:
    """Observed values at which the tables of a feature bend: its quantiles, or its values where they are few.

    Returns:
        Strictly increasing, from the least to the greatest value; a single one for a feature that does not vary.
    """
    knots = np.unique(column)
    if len(knots) > segments + 1:
        knots = np.unique(np.quantile(column, np.linspace(0, 1, segments + 1), method="inverted_cdf"))
    # Between values that differ by rounding only, a table would be a cliff.
    inner = knots[1:-1][np.diff(knots)[:-1] > _NARROWEST * (knots[-1] - knots[0])]
    return np.concatenate([knots[:1], inner[knots[-1] - inner > _NARROWEST * (knots[-1] - knots[0])], knots[1:][-1:]])


def fit_student(features: Floats, target: Floats, knots: Sequence[Floats], signs: Sequence[int]) -> Student:
    """The tables of least squared error whose constrained ones are monotone, rounded to int8.

    The unknowns are the increments from knot to knot, bounded at 0 where there is a sign (Stark and Parker 1995, BVLS).

    Args:
        features: shape (n, d).
        target: shape (n,); its range bounds the output.
        knots: of each feature, length d.
        signs: RISES, FALLS or 0 for each feature, length d.
    """
    filled = [_filled(features[:, number], of) for number, of in enumerate(knots)]
    design = np.concatenate(filled, axis=1)
    owner = np.repeat(np.asarray(signs), [part.shape[1] for part in filled])
    increments = _bounded_least_squares(design - design.mean(axis=0), target - target.mean(), owner)
    ends = np.cumsum([part.shape[1] for part in filled])
    tables = [np.concatenate([[0.0], np.cumsum(part)]) for part in np.split(increments, ends[:-1])]
    student = _rounded(tables, float(target.min()), float(target.max()))
    steps = np.concatenate([np.diff(table.astype(np.float64)) for table in student.tables])
    starts = sum(int(table[0]) for table in student.tables)
    # Rounding has moved the mean; the anchor brings it back.
    anchor = float(target.mean() - student.scale * (starts + (design @ steps).mean()))
    return Student(anchor, student.scale, student.tables, student.low, student.high)


def _filled(column: Floats, knots: Floats) -> Floats:
    """How much of each segment lies below the value, in [0, 1], shape (n, segments)."""
    return np.asarray(np.clip((column[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0))


def _bounded_least_squares(design: Floats, target: Floats, signs: NDArray[np.int64]) -> Floats:
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import lsq_linear

    if not design.shape[1]:
        return np.zeros(0)
    root = cholesky(design.T @ design + _RIDGE * np.eye(design.shape[1]))
    projected = solve_triangular(root, design.T @ target, trans="T")
    bounds = (np.where(signs > 0, 0.0, -np.inf), np.where(signs < 0, 0.0, np.inf))
    solved: Floats = lsq_linear(root, projected, bounds, method="bvls").x
    return np.asarray(np.clip(solved, *bounds))


def _rounded(tables: Sequence[Floats], low: float, high: float) -> Student:
    """Each table is centred between its least and greatest entry, which lets the shared scale be finest."""
    centred = [table - (table.min() + table.max()) / 2 for table in tables]
    reach = max(float(abs(table).max()) for table in centred)
    scale = reach / LARGEST if reach > 0 else 1.0
    return Student(0.0, scale, tuple(np.rint(table / scale).astype(np.int8) for table in centred), low, high)
