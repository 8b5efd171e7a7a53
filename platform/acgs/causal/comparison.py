"""Two arms compared: common support, nuisances, weights and the estimates that rest on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from acgs.causal.estimators import Estimate, aipw, arm_weights, snips, stratified_difference
from acgs.causal.nuisance import Nuisances, cross_fit, features, folds_of
from acgs.causal.permutation import RandomisationTest, randomisation_test
from acgs.causal.plan import AuditPlan
from acgs.causal.strata import Codes, common_support, quantile_bins, stratify
from acgs.causal.table import LoggedTable
from acgs.statistics.evidence import Floats, InsufficientDataError

SUBCLASSES: Final = 5
"""Of the propensity, where no strata are named: five remove nine tenths of a bias (Rosenbaum and Rubin 1984)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was computed for the rows inside common support; arrays have one entry for each of them."""

    table: LoggedTable
    x: Floats
    names: tuple[str, ...]
    """The features' names."""
    nuisances: Nuisances
    strata: Codes
    weights: Floats
    """Unclipped."""
    rows: int
    """Rows before any were dropped."""
    one_armed: int
    """Strata in which one arm does not occur: dropped, unless the propensities were logged."""
    estimates: tuple[Estimate, ...]
    """The doubly robust one, which is the answer, then the weighted and the stratified one."""

    @property
    def answer(self) -> Estimate:
        """The doubly robust estimate."""
        return self.estimates[0]

    @property
    def dropped_share(self) -> float:
        """Share of rows outside common support, or trimmed."""
        return 1 - len(self.table) / self.rows

    def randomisation(self, plan: AuditPlan) -> RandomisationTest:
        """Test whether the outcome differs between the arms within strata."""
        return randomisation_test(
            self.table.outcome, self.table.treated, self.strata, resamples=plan.resamples, seed=plan.seed
        )


def compare(table: LoggedTable, plan: AuditPlan, *, treatment: Floats | None = None) -> Comparison:
    """Compare the two arms of a table.

    Strata with one arm are outside common support, and dropped. Not so where each row's chance of treatment is known:
    there is support for both arms then, and rows that were dropped for the arms they got would leave a log that was not
    drawn with those chances. Only the stratified estimate and the permutation test leave them out.

    Args:
        treatment: each row's probability of treatment where it is known, shape (n,).

    Raises:
        InsufficientDataError: too few rows in an arm, no common support, or an outcome that does not vary.
        InvalidInputError: there are not two arms.
    """
    table.require_variation()
    rows, one_armed = len(table), 0
    codes = None
    if table.strata:
        codes = stratify(table.strata, bins=plan.bins)
        support = common_support(codes, table.treated)
        one_armed = support.one_armed
        if treatment is None and table.propensity is None:
            table, codes = table.rows(support.kept), codes[support.kept]
    x, names, nuisances = _learn(table, plan, treatment)
    if plan.trim is not None:
        inside = (nuisances.treatment >= plan.trim) & (nuisances.treatment <= 1 - plan.trim)
        table, codes = table.rows(inside), None if codes is None else codes[inside]
        x, names, nuisances = _learn(table, plan, None)
    if codes is None:
        codes = quantile_bins(nuisances.treatment, SUBCLASSES)
    treated = table.treated
    weights = arm_weights(nuisances.treatment, treated, plan.estimand)
    estimates = (
        aipw(table.outcome, treated, nuisances, estimand=plan.estimand, cluster=table.cluster),
        snips(table.outcome, treated, weights, cluster=table.cluster),
        stratified_difference(table.outcome, treated, codes, estimand=plan.estimand, cluster=table.cluster),
    )
    return Comparison(table, x, names, nuisances, codes, weights, rows, one_armed, estimates)


def _learn(table: LoggedTable, plan: AuditPlan, treatment: Floats | None) -> tuple[Floats, tuple[str, ...], Nuisances]:
    treated = table.treated
    for side, name in zip((~treated, treated), table.arms, strict=True):
        units = int(side.sum()) if table.cluster is None else len(np.unique(table.cluster[side]))
        if units < plan.least_per_arm:
            what = "rows" if table.cluster is None else "clusters"
            raise InsufficientDataError(
                f"arm {name} has {units} {what} with common support and needs {plan.least_per_arm}", field="treatment"
            )
    if treatment is None and table.propensity is not None:
        treatment = np.where(treated, table.propensity, 1 - table.propensity)
        if not ((treatment > 0) & (treatment < 1)).all():
            raise InsufficientDataError(
                "some rows could only get the arm they got, so the other arm has no evidence there; leave them out",
                field="propensity",
            )
    x, names = features(table.adjusted, len(table))
    fold = folds_of(table.arm, table.cluster, plan.folds, plan.seed)
    return x, names, cross_fit(x, table.outcome, treated, fold, propensity=treatment)
