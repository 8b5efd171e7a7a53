"""The positive control: an effect of known size, planted into the log's own confounding, must be found.

Adding a constant to one arm would be found by anything. Instead a log is made anew (plasmode simulation: Franklin et
al. 2014): the rows keep their covariates, get an arm by the probabilities that were learned, and an outcome as learned
without treatment plus a residual drawn from the log, plus the effect where treated. Arms differ in it just as they
differ in the log, so poor overlap or a confounder that is not adjusted for well shows as an interval that misses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from acgs.causal.checks import Check
from acgs.causal.comparison import Comparison, compare
from acgs.causal.estimators import Estimate
from acgs.causal.plan import AuditPlan
from acgs.causal.policies import PolicyComparison, compare_policy
from acgs.statistics.evidence import InsufficientDataError, Verdict
from acgs.statistics.weights import FEWEST


@dataclass(frozen=True, slots=True)
class Recovery:
    """How often the interval held the planted effect."""

    effect: float
    """Its size in the outcome's unit."""
    bias: float | None
    """Mean of the estimates less what was planted, in the outcome's unit; None if there was no estimate."""
    covered: int
    plants: int


def plant_effects(comparison: Comparison, plan: AuditPlan) -> Recovery:
    """Plant an effect into the log of two arms as often as the plan says, and look for it the way the audit does."""
    table, nuisances = comparison.table, comparison.nuisances
    effect = plan.planted_effect * float(table.outcome.std())
    residuals = table.outcome - np.where(table.treated, nuisances.treated, nuisances.without)
    known = None if table.propensity is None else nuisances.treatment
    # The strata were cut already, and trimming is not to be done twice.
    bare = replace(table, covariates=table.adjusted, strata={}, controls={}, propensity=None)
    again = plan.model_copy(update={"trim": None, "least_per_arm": FEWEST})

    def attempt(seed: int, rng: np.random.Generator) -> tuple[float, Estimate]:
        treated = rng.random(len(table)) < nuisances.treatment
        outcome = nuisances.without + rng.choice(residuals, len(table)) + effect * treated
        made = replace(bare, arm=treated.astype(np.int64), outcome=outcome)
        return effect, compare(made, again.model_copy(update={"seed": seed}), treatment=known).answer

    return _recover(effect, plan, attempt)


def plant_rewards(comparison: PolicyComparison, plan: AuditPlan) -> Recovery:
    """Deal the outcomes out anew over the log, reward a random half of the arms, and look for the target's value.

    Where only the target's probability of the arm taken is known, no arm is rewarded: its value is then the mean.
    """
    table = comparison.table
    effect = plan.planted_effect * float(table.outcome.std()) if table.policy is not None else 0.0

    def attempt(seed: int, rng: np.random.Generator) -> tuple[float, Estimate]:
        outcome, truth = rng.permutation(table.outcome), float(table.outcome.mean())
        if table.policy is not None:
            rewards = np.zeros(len(table.arms))
            rewards[rng.permutation(len(table.arms))[: len(table.arms) // 2]] = effect
            outcome = outcome + rewards[table.arm]
            truth += float((table.policy @ rewards).mean())
        return truth, compare_policy(replace(table, outcome=outcome), plan.model_copy(update={"seed": seed})).value

    return _recover(effect, plan, attempt)


def check_recovery(recovery: Recovery, plan: AuditPlan) -> Check:
    """FAIL if the intervals missed more often than their confidence, less the slack, allows (binomial test, alpha)."""
    from scipy.stats import binom

    bias = "unknown" if recovery.bias is None else f"{recovery.bias:+.3g}"
    allowed = float(binom.cdf(recovery.covered, recovery.plants, plan.confidence - plan.coverage_slack)) > plan.alpha
    return Check(
        "planted_effect",
        Verdict.PASS if allowed else Verdict.FAIL,
        f"the {plan.confidence:.0%} interval held a planted effect of {recovery.effect:.4g} in {recovery.covered} of "
        f"{recovery.plants} logs made from this one; the mean error is {bias}",
    )


def _recover(
    effect: float, plan: AuditPlan, attempt: Callable[[int, np.random.Generator], tuple[float, Estimate]]
) -> Recovery:
    errors, covered = [], 0
    for seed in range(plan.seed + 1, plan.seed + 1 + plan.plants):
        try:
            truth, estimate = attempt(seed, np.random.default_rng(seed))
        except InsufficientDataError:
            # A log in which nothing can be estimated did not show the effect.
            continue
        low, high = estimate.interval(plan.confidence)
        errors.append(estimate.value - truth)
        covered += low <= truth <= high
    return Recovery(effect, float(np.mean(errors)) if errors else None, covered, plan.plants)
