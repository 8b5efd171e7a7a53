"""What must hold before a number from a log is believed; each check says PASS, FAIL or INSUFFICIENT, and why."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from acgs.causal.comparison import Comparison
from acgs.causal.estimators import Estimate, from_influence
from acgs.causal.plan import AuditPlan
from acgs.causal.strata import common_support, one_armed_by_chance
from acgs.causal.table import LoggedTable
from acgs.statistics.evidence import Floats, Verdict
from acgs.statistics.weights import WeightDiagnostics, diagnose_weights


@dataclass(frozen=True, slots=True)
class Check:
    """One demand, and whether it is met."""

    name: str
    verdict: Verdict
    reason: str
    """A sentence with the figures, whatever the verdict."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """The diagnostics of the arm with the least effective share, and those with the heaviest tail, in one."""

    effective: float
    """Effective sample size of the worst arm, in rows."""
    effective_share: float
    pareto_k: float
    largest_ratio: float
    """The heaviest weight over the mean of its arm's."""

    @classmethod
    def worst(cls, arms: list[WeightDiagnostics]) -> Overlap:
        """The worst of each figure over the arms."""
        least = min(arms, key=lambda arm: arm.effective_share)
        return cls(
            least.effective,
            least.effective_share,
            max(arm.pareto_k for arm in arms),
            max(arm.largest_share * arm.n for arm in arms),
        )


def overlap_of(comparison: Comparison) -> Overlap:
    """Diagnostics of the unclipped weights, each arm by itself: a rare arm is no fault, a few rows that decide are."""
    treated = comparison.table.treated
    return Overlap.worst([diagnose_weights(comparison.weights[side]) for side in (treated, ~treated)])


def check_overlap(overlap: Overlap, plan: AuditPlan) -> list[Check]:
    """Effective sample size and tail index."""
    bounded = overlap.largest_ratio <= 1 / plan.least_ess_share
    tail = f"the tail index k-hat of the unclipped weights is {overlap.pareto_k:.2f}"
    return [
        _demand(
            "effective_sample_size",
            overlap.effective_share >= plan.least_ess_share,
            f"ESS/n of the unclipped weights is {overlap.effective_share:.4f} (ESS {overlap.effective:.0f}); "
            f"at least {plan.least_ess_share:g} is asked",
        ),
        _demand(
            "weight_tail",
            overlap.pareto_k < plan.most_pareto_k or bounded,
            f"{tail}, of weights that end at {overlap.largest_ratio:.1f} times their mean, which is no tail"
            if bounded
            else f"{tail}; less than {plan.most_pareto_k:g} is asked",
        ),
    ]


def check_support(comparison: Comparison, plan: AuditPlan) -> Check:
    """The share of rows that had to be dropped; where propensities were logged, rows that by them cannot be."""
    if comparison.table.propensity is not None and comparison.one_armed:
        drawn = _check_arms_drawn(comparison, plan)
        if drawn.verdict is not Verdict.PASS:
            return drawn
    return _demand(
        "common_support",
        comparison.dropped_share <= plan.most_dropped,
        f"{comparison.dropped_share:.1%} of the rows lie outside common support ({comparison.one_armed} strata have "
        f"one arm only); at most {plan.most_dropped:.0%} may",
    )


def _check_arms_drawn(comparison: Comparison, plan: AuditPlan) -> Check:
    """Whether no more rows lie in strata with one arm than are left there if arms are drawn by the propensities."""
    codes, table = comparison.strata, comparison.table
    alone = int((~common_support(codes, table.treated).kept).sum())
    drawn = one_armed_by_chance(
        codes, comparison.nuisances.treatment, table.cluster, draws=plan.resamples, seed=plan.seed
    )
    by_chance = (1 + int((drawn >= alone).sum())) / (1 + plan.resamples)
    return _demand(
        "common_support",
        by_chance >= plan.alpha,
        f"{alone / len(table):.1%} of the rows lie in strata with one arm only ({comparison.one_armed}); arms drawn by "
        f"the logged propensities leave {drawn.mean() / len(table):.1%} there (chance of so many: {by_chance:.3f})",
    )


def check_balance(comparison: Comparison, plan: AuditPlan) -> Check:
    """The largest weighted difference of a covariate between the arms, in its standard deviations.

    Of many covariates some differ by chance. Where the arms were drawn with known propensities that much is allowed
    beside the margin: a 1 - alpha bound over all of them (Bonferroni).
    """
    from scipy.stats import norm

    x, table, weights = comparison.x, comparison.table, comparison.weights
    found = imbalance(x, table.treated, weights)
    if not len(found):
        return Check("balance", Verdict.PASS, "there are no covariates to be out of balance")
    allowed = np.full(len(found), plan.margin)
    if table.propensity is not None:
        allowed += float(norm.isf(plan.alpha / len(found) / 2)) * _chance_imbalance(x, table, weights)
    worst = int((np.abs(found) - allowed).argmax())
    return _demand(
        "balance",
        abs(found[worst]) <= allowed[worst],
        f"the largest imbalance left after weighting is {found[worst]:+.3f} sd, of {comparison.names[worst]}; "
        f"at most {allowed[worst]:.3g} is asked",
    )


def imbalance(x: Floats, treated: NDArray[np.bool_], weights: Floats) -> Floats:
    """Weighted difference of each feature between the arms in standard deviations within arms, shape (features,).

    One that varies between the arms only, so that it tells the arm, is infinitely far out of balance.
    """
    means = [np.average(x[side], axis=0, weights=weights[side]) for side in (treated, ~treated)]
    spread = _spread(x, treated)
    difference: Floats = means[0] - means[1]
    apart = np.where(np.ptp(x, axis=0) > 0, np.copysign(np.inf, difference), 0.0)
    found: Floats = np.divide(difference, spread, out=apart, where=spread > 0)
    return found


def _chance_imbalance(x: Floats, table: LoggedTable, weights: Floats) -> Floats:
    """Standard error of each feature's `imbalance`, shape (features,); clusters are one draw."""
    variance = np.zeros(x.shape[1])
    for side in (table.treated, ~table.treated):
        pulls = weights[side, None] * (x[side] - np.average(x[side], axis=0, weights=weights[side]))
        if table.cluster is not None:
            member = np.unique(table.cluster[side], return_inverse=True)[1]
            pulls = np.stack([np.bincount(member, weights=column) for column in pulls.T], axis=1)
        variance += (pulls**2).sum(axis=0) / weights[side].sum() ** 2
    spread = _spread(x, table.treated)
    error: Floats = np.divide(np.sqrt(variance), spread, out=np.zeros_like(spread), where=spread > 0)
    return error


def _spread(x: Floats, treated: NDArray[np.bool_]) -> Floats:
    """Root mean square of each feature's standard deviations within arms."""
    found: Floats = np.sqrt((x[treated].var(axis=0) + x[~treated].var(axis=0)) / 2)
    return found


def check_mean_weights(comparison: Comparison, plan: AuditPlan) -> list[Check]:
    """Whether each arm, weighted, stands for all the rows it has to stand for.

    An effective size looks only at the rows an arm has, and so misses the rows that have no like in the arm. There the
    weights sum to too little.
    """
    table, everyone = comparison.table, plan.estimand == "ate"
    weights = comparison.weights if everyone else comparison.weights / float(table.treated.mean())
    sides = ((table.arms[1], table.treated), (table.arms[0], ~table.treated))
    return [
        check_mean_weight(np.where(side, weights, 0.0), table.cluster, arm, plan, logged=table.propensity is not None)
        for arm, side in (sides if everyone else sides[1:])
    ]


def check_mean_weight(
    weights: Floats, cluster: NDArray[np.int64] | None, name: str, plan: AuditPlan, *, logged: bool
) -> Check:
    """Right propensities, of a log that holds all that is asked for, give weights with a mean of 1.

    A mean below 1 is rows, or target probability, that the log has no like of; any other departure means that the
    propensities are not those the log was made with (the arithmetic mean test of Li, Chen, Kleiner and Gupta 2015).
    Logged propensities must be right; those that were learned, within the margin.

    Args:
        weights: 1 / propensity or target / propensity of rows of the arm that is judged, 0 for others, shape (n,).
    """
    title = f"mean_weight:{name}"
    mean = from_influence(title, weights, cluster)
    # Evidence against 1 is asked for at alpha over both arms, closeness to 1 by two one-sided tests at alpha.
    low, high = mean.interval(1 - plan.alpha / 2)
    text = f"the mean weight lies in {low:.3f} to {high:.3f}"
    tolerance = plan.most_unsupported if logged else plan.margin
    if high < 1 - tolerance:
        return Check(title, Verdict.FAIL, f"{text}, below 1: part of the log has no like in {name}")
    if low > 1 + tolerance:
        return Check(title, Verdict.FAIL, f"{text}, above 1: the propensities are not those of the arms taken")
    inner_low, inner_high = mean.interval(1 - 2 * plan.alpha)
    if inner_low < 1 - plan.margin or inner_high > 1 + plan.margin:
        return Check(title, Verdict.INSUFFICIENT, f"{text}: too wide to tell that it is 1 within {plan.margin:g}")
    return Check(title, Verdict.PASS, f"{text}, as right propensities give")


def check_precision(answer: Estimate, plan: AuditPlan) -> list[Check]:
    """The width of the interval, where the plan asks for one."""
    if plan.most_half_width is None:
        return []
    low, high = answer.interval(plan.confidence)
    half = (high - low) / 2
    enough = half <= plan.most_half_width
    text = f"half the interval's width is {half:.4g}; at most {plan.most_half_width:g} is asked"
    return [Check("precision", Verdict.PASS if enough else Verdict.INSUFFICIENT, text)]


def spread_within_arms(outcome: Floats, treated: NDArray[np.bool_]) -> float:
    """Root mean square of the arms' standard deviations (Austin 2009), in the outcome's unit."""
    return sqrt((float(outcome[treated].var(ddof=1)) + float(outcome[~treated].var(ddof=1))) / 2)


def _demand(name: str, holds: bool, reason: str) -> Check:
    return Check(name, Verdict.PASS if holds else Verdict.FAIL, reason)
