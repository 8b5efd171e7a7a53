"""The value of a policy that was not followed, from the log of one that was and whose propensities are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acgs.causal.estimators import Estimate, from_influence
from acgs.causal.nuisance import features, folds_of, regress
from acgs.causal.plan import AuditPlan
from acgs.causal.table import LoggedTable
from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats, InsufficientDataError


@dataclass(frozen=True, slots=True)
class PolicyComparison:
    """A target policy against the policy that made the log."""

    table: LoggedTable
    weights: Floats
    """Target / logged probability of the arm taken, unclipped, shape (n,)."""
    value: Estimate
    """Doubly robust value of the target."""
    estimates: tuple[Estimate, ...]
    """Value of the target less the log's mean: doubly robust, which is the answer, and self-normalised."""

    @property
    def answer(self) -> Estimate:
        """The doubly robust difference."""
        return self.estimates[0]


def compare_policy(table: LoggedTable, plan: AuditPlan) -> PolicyComparison:
    """Value the table's target policy.

    Raises:
        InvalidInputError: no target policy.
        InsufficientDataError: too few rows, weights that are all 0, or an outcome that does not vary.
    """
    if table.target is None or table.propensity is None:
        raise InvalidInputError("name the target policy, and the logged propensities", field="target")
    table.require_variation()
    units = len(table) if table.cluster is None else len(np.unique(table.cluster))
    if units < plan.least_per_arm:
        raise InsufficientDataError(f"the log has {units} independent rows and needs {plan.least_per_arm}", field="n")
    weights = table.target / table.propensity
    if not weights.any():
        raise InsufficientDataError("the log holds nothing of what the target policy does", field="target")
    expected, taken = expected_outcome(table, plan)
    doubly = expected + weights * (table.outcome - taken)
    mean = float(weights @ table.outcome / weights.sum())
    normalised = mean + weights / weights.mean() * (table.outcome - mean)
    return PolicyComparison(
        table,
        weights,
        from_influence("dr", doubly, table.cluster),
        (
            from_influence("dr", doubly - table.outcome, table.cluster),
            from_influence("snips", normalised - table.outcome, table.cluster),
        ),
    )


def expected_outcome(table: LoggedTable, plan: AuditPlan) -> tuple[Floats, Floats]:
    """Out-of-fold expectation of the outcome under the target policy, and under the arm taken, each of shape (n,).

    The model is additive: what the covariates say, plus what the arm adds on average, drawn towards 0 as if one more
    row had shown nothing for each arm. With propensities known its faults cost precision, not truth (Dudik, Langford
    and Li 2011). What arms add is used only where the target's probability of every arm is known.
    """
    x, _names = features(table.adjusted, len(table))
    fold = folds_of(table.arm, table.cluster, plan.folds, plan.seed)
    base = regress(x, table.outcome, fold)
    if table.policy is None:
        return base, base
    expected, taken = base * table.policy.sum(axis=1), base.copy()
    for number in np.unique(fold):
        held = fold == number
        size = len(table.arms)
        rows = np.bincount(table.arm[~held], minlength=size)
        sums = np.bincount(table.arm[~held], weights=(table.outcome - base)[~held], minlength=size)
        added = sums / (rows + 1)
        taken[held] += added[table.arm[held]]
        expected[held] += table.policy[held] @ added
    return expected, taken
