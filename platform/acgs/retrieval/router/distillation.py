"""From measured targets to tables: a cross-fitted teacher, a student of its predictions, and how well the two agree."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acgs.errors import InvalidInputError
from acgs.retrieval.router.fidelity import Fidelity, decision_agreement, fidelity
from acgs.retrieval.router.outputs import FALLS, MONOTONE, OUTPUTS, RISES, Signs
from acgs.retrieval.router.runtime import Router
from acgs.retrieval.router.tables import Student, fit_student, place_knots
from acgs.retrieval.router.teacher import out_of_fold
from acgs.statistics.evidence import Floats, InsufficientDataError, sample

FEWEST_QUERIES = 50


@dataclass(frozen=True, slots=True)
class Distillation:
    """The tables of the three outputs and where they come from."""

    feature_names: tuple[str, ...]
    knots: tuple[Floats, ...]
    """Of each feature, strictly increasing."""
    students: Mapping[str, Student]
    signs: Signs
    samples: tuple[tuple[int, ...], ...]
    """Queries in each segment, by feature."""
    teacher: Mapping[str, Floats]
    """Out-of-fold predictions, each of shape (n,)."""
    held_out: Mapping[str, Floats]
    """Of tables fitted in the same way to the other folds, each of shape (n,)."""
    fidelity: Mapping[str, Fidelity]
    queries: int
    data_digest: str
    """SHA-256 (hex) over names, features, targets and folds."""
    seed: int

    def router(self) -> Router:
        """The tables, ready to predict."""
        return Router(self.feature_names, self.knots, self.students)

    def decided_at(self, thresholds: Sequence[float]) -> Distillation:
        """The same with the agreement of decisions at the gate's thresholds on gain, known once the gate is."""
        agreed = decision_agreement(self.teacher["gain"], self.held_out["gain"], thresholds)
        stated = replace(self.fidelity["gain"], decision_agreement=agreed)
        return replace(self, fidelity={**self.fidelity, "gain": stated})


def distill(
    features: ArrayLike,
    names: Sequence[str],
    targets: Mapping[str, ArrayLike],
    folds: ArrayLike,
    seed: int,
    *,
    signs: Signs = MONOTONE,
) -> Distillation:
    """Distil a monotone LightGBM teacher into additive tables.

    Args:
        features: shape (n, d).
        names: of the features, length d.
        targets: `tau` in [0, 1], `spend` in ms and at least 0, `gain` in nDCG@10; each of shape (n,).
        folds: fold of each query as a whole number, shape (n,); queries of one user or template share a fold.
        signs: in which direction an output must follow a feature.

    Raises:
        InvalidInputError: shapes or names that do not fit, values that are not finite or out of range.
        InsufficientDataError: fewer than 50 queries, or fewer than 3 folds.
    """
    table, columns, groups = _checked(features, names, targets, folds)
    directions = _directions(names, signs)
    knots = tuple(place_knots(column) for column in table.T)
    teacher = {name: out_of_fold(table, columns[name], groups, directions[name], seed=seed) for name in OUTPUTS}
    students = {name: fit_student(table, teacher[name], knots, directions[name]) for name in OUTPUTS}
    shipped = Router(names, knots, students).predict(table)._asdict()
    held_out = _held_out(table, names, teacher, groups, directions)
    agreed = {name: fidelity(teacher[name], shipped[name], held_out[name]) for name in OUTPUTS}
    return Distillation(
        feature_names=tuple(names),
        knots=knots,
        students=students,
        signs=signs,
        samples=tuple(_in_segments(column, of) for column, of in zip(table.T, knots, strict=True)),
        teacher=teacher,
        held_out=held_out,
        fidelity=agreed,
        queries=len(table),
        data_digest=_digest(names, table, columns, groups),
        seed=seed,
    )


def _held_out(
    table: Floats,
    names: Sequence[str],
    teacher: Mapping[str, Floats],
    groups: NDArray[np.int64],
    directions: Mapping[str, Sequence[int]],
) -> dict[str, Floats]:
    """Predictions of each fold by tables that were fitted to the others."""
    predicted = {name: np.empty(len(table)) for name in OUTPUTS}
    for group in np.unique(groups):
        held = groups == group
        knots = [place_knots(column) for column in table[~held].T]
        students = {name: fit_student(table[~held], teacher[name][~held], knots, directions[name]) for name in OUTPUTS}
        for name, values in Router(names, knots, students).predict(table[held])._asdict().items():
            predicted[name][held] = values
    return predicted


def _checked(
    features: ArrayLike, names: Sequence[str], targets: Mapping[str, ArrayLike], folds: ArrayLike
) -> tuple[Floats, dict[str, Floats], NDArray[np.int64]]:
    table = np.asarray(features, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(names) or not len(names) or len(set(names)) < len(names):
        raise InvalidInputError("features must be queries by names, and each name must be its own", field="features")
    if not np.isfinite(table).all():
        raise InvalidInputError("features hold values that are not finite numbers; mend them", field="features")
    if set(targets) != set(OUTPUTS):
        raise InvalidInputError(f"targets must be {', '.join(OUTPUTS)}", field="targets")
    columns = {name: sample(targets[name], name) for name in OUTPUTS}
    if len(table) < FEWEST_QUERIES:
        raise InsufficientDataError(
            f"{len(table)} judged queries are too few to learn a router from; judge at least {FEWEST_QUERIES}",
            field="queries",
        )
    groups = np.asarray(folds)
    if groups.dtype.kind not in "iu" or {len(table), *map(len, columns.values())} != {groups.size} or groups.ndim != 1:
        raise InvalidInputError("a query needs one target of each kind and a fold, a whole number", field="folds")
    if columns["tau"].min() < 0 or columns["tau"].max() > 1 or columns["spend"].min() < 0:
        raise InvalidInputError("tau must lie in [0, 1] and spend must be at least 0 ms", field="targets")
    if len(np.unique(groups)) < 3:
        raise InsufficientDataError("cross-fitting needs at least 3 folds", field="folds")
    return table, columns, groups.astype(np.int64)


def _directions(names: Sequence[str], signs: Signs) -> dict[str, list[int]]:
    """The sign of each feature, by output."""
    unknown = {feature for of in signs.values() for feature in of} - set(names)
    wrong = {sign for of in signs.values() for sign in of.values()} - {RISES, FALLS}
    if unknown or wrong or not set(signs) <= set(OUTPUTS):
        missing = ", ".join(sorted(unknown)) or "no feature"
        raise InvalidInputError(f"directions name outputs, features and 1 or -1; not given: {missing}", field="signs")
    return {output: [signs.get(output, {}).get(name, 0) for name in names] for output in OUTPUTS}


def _in_segments(column: Floats, knots: Floats) -> tuple[int, ...]:
    counts = np.bincount(np.searchsorted(knots[1:-1], column, "right"), minlength=max(1, len(knots) - 1))
    return tuple(counts.tolist())


def _digest(names: Sequence[str], table: Floats, columns: Mapping[str, Floats], groups: NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(struct.pack("<Q", len(name.encode())) + name.encode())
    digest.update(struct.pack("<2Q", *table.shape))
    for values in (table, *(columns[name] for name in OUTPUTS)):
        digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(groups, dtype="<i8").tobytes())
    return digest.hexdigest()
