"""A logged table: which arm each row got, what came of it, and what was known before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats, InsufficientDataError

Column = NDArray[Any]
"""Numbers (float64) or texts (numpy str), shape (n,)."""
UNIFORM: Final = "uniform"
LARGEST: Final = 1e100
"""Squares of larger values, and sums of such squares, leave the range of a float."""
MOST_LEVELS: Final = 100
"""A text column with more values than this is an identifier, not something to adjust for."""


class Roles(BaseModel):
    """Which column plays which part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    treatment: str = "treatment"
    outcome: str = "outcome"
    covariates: tuple[str, ...] = ()
    """Known before the arm was chosen. A name may be a pattern, as in `x_*`."""
    strata: tuple[str, ...] = ()
    propensity: str | None = None
    """Probability with which the logging system chose the arm that was taken (not the probability of treatment)."""
    target: str | None = None
    """Probability that the policy to be valued gives to the arm that was taken; `uniform`: one over all logged arms."""
    negative_controls: tuple[str, ...] = ()
    """Outcomes that the arm cannot have changed, but that whatever steered the choice of arm may have."""
    slice: str | None = None
    cluster: str | None = None
    """Rows of one cluster (a user, a query template) are not independent."""
    treated: str | None = None
    """The value of `treatment` that counts as treated. Default: the last of the two in order, as 1 is of 0 and 1."""


@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A checked table; every array has n rows. Make it with `tabulate`."""

    arms: tuple[str, ...]
    """The labels of the arms; of two, the first is the control."""
    arm: NDArray[np.int64]
    """Index into `arms`."""
    outcome: Floats
    covariates: dict[str, Column]
    strata: dict[str, Column]
    propensity: Floats | None
    """Of the arm taken, in (0, 1]."""
    target: Floats | None
    """Of the arm taken, in [0, 1]."""
    policy: Floats | None
    """Target probability of every arm, shape (n, arms), where it is known."""
    controls: dict[str, Floats]
    slices: Column | None
    cluster: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def treated(self) -> NDArray[np.bool_]:
        """Which rows got the second of two arms.

        Raises:
            InvalidInputError: there are not two arms.
        """
        if len(self.arms) != 2:
            raise InvalidInputError(
                f"the treatment has {len(self.arms)} values; keep the rows of two, or name a target policy",
                field="treatment",
            )
        treated: NDArray[np.bool_] = self.arm == 1
        return treated

    @property
    def adjusted(self) -> dict[str, Column]:
        """All that is adjusted for: strata and covariates."""
        return {**self.strata, **self.covariates}

    def require_variation(self) -> None:
        """Raise InsufficientDataError where the outcome is one and the same, which leaves nothing to explain."""
        if not len(self) or np.ptp(self.outcome) == 0:
            raise InsufficientDataError("the outcome does not vary, so no interval can be given", field="outcome")

    def rows(self, kept: NDArray[np.bool_]) -> LoggedTable:
        """The table of the rows where `kept` holds."""

        def some(column: Column | None) -> Column | None:
            return None if column is None else column[kept]

        return replace(
            self,
            arm=self.arm[kept],
            outcome=self.outcome[kept],
            covariates={name: column[kept] for name, column in self.covariates.items()},
            strata={name: column[kept] for name, column in self.strata.items()},
            propensity=some(self.propensity),
            target=some(self.target),
            policy=some(self.policy),
            controls={name: column[kept] for name, column in self.controls.items()},
            slices=some(self.slices),
            cluster=some(self.cluster),
        )

    def placebo(self, control: str) -> LoggedTable:
        """The table with a negative control as its outcome, which then adjusts for nothing and sorts nothing."""
        return replace(
            self,
            outcome=self.controls[control],
            covariates={name: column for name, column in self.covariates.items() if name != control},
            strata={name: column for name, column in self.strata.items() if name != control},
            controls={},
        )

    def by_slice(self) -> Iterator[tuple[str, LoggedTable]]:
        """Each slice's name and rows, in order of the names."""
        if self.slices is None:
            raise InvalidInputError("the table has no slice column; name one", field="slice")
        for value in np.unique(self.slices):
            yield label(value), self.rows(self.slices == value)

    def digest(self) -> str:
        """SHA-256 over the contents and the parts they play, in hex."""
        found = hashlib.sha256("\x1f".join(self.arms).encode())
        groups: tuple[tuple[str, Mapping[str, Column]], ...] = (
            ("covariate", self.covariates),
            ("stratum", self.strata),
            ("control", self.controls),
        )
        named = [(f"{part}:{name}", column) for part, group in groups for name, column in group.items()]
        single = ("arm", "outcome", "propensity", "target", "policy", "slices", "cluster")
        for name, column in [*((name, getattr(self, name)) for name in single), *named]:
            if column is not None:
                found.update(f"\x1e{name}:{column.shape}\x1e".encode())
                text = "\x1f".join(column.tolist()).encode() if column.dtype.kind == "U" else None
                found.update(np.ascontiguousarray(column).tobytes() if text is None else text)
        return found.hexdigest()


def tabulate(columns: Mapping[str, ArrayLike], roles: Roles, *, policy: ArrayLike | None = None) -> LoggedTable:
    """Check columns and give them their parts.

    Args:
        columns: numbers or texts by name, all of one length. Columns without a part are not looked at.
        policy: target probability of every logged arm in each row, shape (n, arms), arms in the order of their sorted
            values. What a row lacks to a sum of 1 is on arms never logged. It lets outcomes be modelled by arm, which
            one column of probabilities does not.

    Raises:
        InvalidInputError: a column is missing, has a gap or holds what its part cannot use; `field` names it.
        InsufficientDataError: no rows, or only one arm.
    """
    read = _Reader(columns)
    arms, arm = _arms(read.column(roles.treatment), roles.treated)
    covariates = tuple(dict.fromkeys(name for pattern in roles.covariates for name in read.matching(pattern)))
    if roles.treatment == roles.outcome:
        raise InvalidInputError(f"column {roles.outcome} cannot be both arm and outcome", field="outcome")
    for name in (*covariates, *roles.strata):
        if name in (roles.treatment, roles.outcome, roles.propensity, roles.target):
            raise InvalidInputError(f"column {name} cannot be adjusted for as well", field=name)
    propensity = None if roles.propensity is None else read.probabilities(roles.propensity, positive=True)
    full = _policy(policy, roles.target, len(arm), len(arms))
    target = None if roles.target in (None, UNIFORM) else read.probabilities(str(roles.target), positive=False)
    if full is not None:
        target = np.take_along_axis(full, arm[:, None], axis=1)[:, 0]
    if target is not None and propensity is None:
        raise InvalidInputError("a target policy needs the logged propensities; name their column", field="propensity")
    cluster = None if roles.cluster is None else np.unique(read.column(roles.cluster), return_inverse=True)[1]
    return LoggedTable(
        arms=arms,
        arm=arm,
        outcome=read.numbers(roles.outcome),
        covariates={name: read.covariate(name) for name in covariates},
        strata={name: read.covariate(name) for name in roles.strata},
        propensity=propensity,
        target=target,
        policy=full,
        controls={name: read.numbers(name) for name in dict.fromkeys(roles.negative_controls)},
        slices=None if roles.slice is None else read.column(roles.slice),
        cluster=cluster,
    )


def label(value: object) -> str:
    """A value as people write it: 1 rather than 1.0."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


class _Reader:
    """Columns of one length, each checked as its part needs it."""

    def __init__(self, columns: Mapping[str, ArrayLike]) -> None:
        self._columns = {name: np.asarray(column) for name, column in columns.items()}
        self._length = len(next(iter(self._columns.values()), ()))

    def matching(self, pattern: str) -> list[str]:
        found = [name for name in self._columns if name == pattern or fnmatchcase(name, pattern)]
        if not found:
            raise InvalidInputError(f"there is no column {pattern}", field=pattern)
        return found

    def column(self, name: str) -> Column:
        if name not in self._columns:
            raise InvalidInputError(f"there is no column {name}", field=name)
        column = self._columns[name]
        if column.shape != (self._length,):
            raise InvalidInputError(f"column {name} has another length than the others", field=name)
        if column.dtype.kind in "biuf":
            column = column.astype(np.float64)
            if not np.isfinite(column).all():
                raise InvalidInputError(
                    f"column {name} has gaps or values that are not finite; fill or drop those rows", field=name
                )
            if np.abs(column).max(initial=0.0) > LARGEST:
                raise InvalidInputError(f"column {name} holds values beyond {LARGEST:g}; rescale it", field=name)
            return column
        texts = column.astype(str)
        if (texts == "").any():
            raise InvalidInputError(f"column {name} has gaps; fill or drop those rows", field=name)
        return texts

    def numbers(self, name: str) -> Floats:
        column = self.column(name)
        if column.dtype.kind != "f":
            raise InvalidInputError(f"column {name} must hold numbers", field=name)
        return column

    def covariate(self, name: str) -> Column:
        column = self.column(name)
        if column.dtype.kind == "U" and len(np.unique(column)) > MOST_LEVELS:
            raise InvalidInputError(
                f"column {name} has more than {MOST_LEVELS} different texts; group them, or leave it out", field=name
            )
        return column

    def probabilities(self, name: str, *, positive: bool) -> Floats:
        column = self.numbers(name)
        low = column <= 0 if positive else column < 0
        if low.any() or (column > 1).any():
            raise InvalidInputError(
                f"column {name} must hold probabilities {'above 0' if positive else 'from 0'} up to 1", field=name
            )
        return column


def _arms(column: Column, treated: str | None) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    values, arm = np.unique(column, return_inverse=True)
    labels = [label(value) for value in values.tolist()]
    if len(labels) < 2:
        raise InsufficientDataError("every row got the same arm, so there is nothing to compare", field="treatment")
    if treated is None:
        return tuple(labels), arm.astype(np.int64)
    if treated not in labels:
        held = ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
        raise InvalidInputError(
            f"no row of the treatment column holds the value named as treated; it holds {held}", field="treated"
        )
    if len(labels) > 2:
        raise InvalidInputError("the treatment has more than two values; keep the rows of two", field="treatment")
    position = labels.index(treated)
    return (labels[1 - position], treated), (arm == position).astype(np.int64)


def _policy(given: ArrayLike | None, target: str | None, rows: int, arms: int) -> Floats | None:
    if given is None:
        return np.broadcast_to(np.float64(1 / arms), (rows, arms)) if target == UNIFORM else None
    policy = np.asarray(given, dtype=np.float64)
    if target is not None:
        raise InvalidInputError("give the target policy once: as a column or as a table", field="target")
    if policy.shape != (rows, arms):
        raise InvalidInputError(f"the policy must have {rows} rows and {arms} arms", field="policy")
    if not ((policy >= 0).all() and (policy.sum(axis=1) <= 1 + 1e-6).all()):
        raise InvalidInputError("each row of the policy must hold probabilities that sum to 1 at most", field="policy")
    return policy
