"""Effects of one arm against another: stratified, weighted and doubly robust, each with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acgs.causal.nuisance import Nuisances
from acgs.causal.strata import Codes, common_support
from acgs.statistics.evidence import Floats, InsufficientDataError

Estimand = Literal["ate", "att"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value in the outcome's unit with its two-sided interval."""

    method: str
    value: float
    error: float
    """Standard error."""
    units: int
    """Independent units: clusters where there are any, else rows."""

    def interval(self, confidence: float) -> tuple[float, float]:
        """(lower, upper) by Student's t at two-sided `confidence`."""
        from scipy.stats import t

        reach = float(t.ppf((1 + confidence) / 2, self.units - 1)) * self.error
        return self.value - reach, self.value + reach


def from_influence(method: str, influence: Floats, cluster: NDArray[np.int64] | None) -> Estimate:
    """The mean of influence values, shape (n,), with the error that their spread implies (by cluster if there is one).

    Raises:
        InsufficientDataError: fewer than 2 units.
    """
    n, mean = len(influence), float(influence.mean())
    sums: Floats = influence - mean
    if cluster is not None:
        sums = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=sums).astype(np.float64)
    units = len(sums)
    if units < 2:
        raise InsufficientDataError("there is one independent unit, whose spread is unknown", field="cluster")
    return Estimate(method, mean, sqrt(units / (units - 1) * float((sums**2).sum())) / n, units)


def arm_weights(treatment: Floats, treated: NDArray[np.bool_], estimand: Estimand) -> Floats:
    """The weight of each row in the mean of its arm, shape (n,), unclipped; `treatment` is its probability."""
    if estimand == "att":
        return np.where(treated, 1.0, treatment / (1 - treatment))
    return np.where(treated, 1 / treatment, 1 / (1 - treatment))


def stratified_difference(
    outcome: Floats,
    treated: NDArray[np.bool_],
    strata: Codes,
    *,
    estimand: Estimand = "ate",
    cluster: NDArray[np.int64] | None = None,
) -> Estimate:
    """Differences within strata, weighted by the strata's rows (or treated rows); strata with one arm are left out.

    Raises:
        InsufficientDataError: no stratum has both arms.
    """
    kept = common_support(strata, treated).kept
    if not kept.any():
        raise InsufficientDataError("no stratum has both arms, so nothing can be compared", field="strata")
    y, arm, codes = outcome[kept], treated[kept], np.unique(strata[kept], return_inverse=True)[1]
    rows, ours = np.bincount(codes), np.bincount(codes, weights=arm)
    cell_rows = np.where(arm, ours[codes], (rows - ours)[codes])
    means = np.where(
        arm,
        (np.bincount(codes, weights=y * arm) / ours)[codes],
        (np.bincount(codes, weights=y * ~arm) / (rows - ours))[codes],
    )
    residual = y - means
    effects = np.bincount(codes, weights=y * arm) / ours - np.bincount(codes, weights=y * ~arm) / (rows - ours)
    share = rows / len(y) if estimand == "ate" else ours / arm.sum()
    value = float(share @ effects)
    # A row alone in its cell shows no spread of its own: it is given its arm's.
    alone = cell_rows == 1
    for side in (arm, ~arm):
        free = max(1, int(side.sum()) - len(rows))
        residual[side & alone] = sqrt(float((residual[side] ** 2).sum()) / free)
    residual = residual * np.sqrt(cell_rows / np.maximum(cell_rows - 1, 1))
    between = (effects[codes] - value) * (1.0 if estimand == "ate" else arm * (len(y) / arm.sum()))
    influence = value + between + np.where(arm, 1, -1) * len(y) * share[codes] / cell_rows * residual
    found = from_influence("stratified", influence, None if cluster is None else cluster[kept])
    return Estimate(found.method, value, found.error, found.units)


def snips(
    outcome: Floats, treated: NDArray[np.bool_], weights: Floats, *, cluster: NDArray[np.int64] | None = None
) -> Estimate:
    """Difference of the arms' self-normalised weighted means (Hajek 1971; Swaminathan and Joachims 2015)."""
    influence = np.zeros(len(outcome))
    value = 0.0
    for side, sign in ((treated, 1.0), (~treated, -1.0)):
        mean = float(weights[side] @ outcome[side] / weights[side].sum())
        value += sign * mean
        influence[side] += sign * weights[side] / weights[side].sum() * (outcome[side] - mean)
    return from_influence("snips", value + influence * len(outcome), cluster)


def aipw(
    outcome: Floats,
    treated: NDArray[np.bool_],
    nuisances: Nuisances,
    *,
    estimand: Estimand = "ate",
    cluster: NDArray[np.int64] | None = None,
) -> Estimate:
    """Augmented inverse-probability weighting with cross-fitted nuisances (Robins, Rotnitzky and Zhao 1994;
    Chernozhukov et al. 2018): right if either who gets the arm or what comes of it is learned well."""
    e, without, given = nuisances.treatment, nuisances.without, nuisances.treated
    if estimand == "att":
        share = float(treated.mean())
        excess = np.where(treated, outcome - without, -e / (1 - e) * (outcome - without)) / share
        value = float(excess.mean())
        return from_influence("aipw", value + excess - value * treated / share, cluster)
    correction = np.where(treated, (outcome - given) / e, -(outcome - without) / (1 - e))
    return from_influence("aipw", given - without + correction, cluster)


def two_sided_p(estimate: Estimate) -> float:
    """p-value of no effect by Student's t."""
    from scipy.stats import t

    if estimate.error == 0:
        return 1.0 if estimate.value == 0 else 0.0
    return float(2 * t.sf(abs(estimate.value) / estimate.error, estimate.units - 1))
