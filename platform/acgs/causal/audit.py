"""The audit: everything that must hold before an effect from a log is believed, in one verdict.

ACCEPT needs every check to pass. A check that fails, one that the data cannot decide, and data that are too few for any
number all mean REFUSED, each with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from acgs.causal.checks import (
    Check,
    Overlap,
    check_balance,
    check_mean_weight,
    check_mean_weights,
    check_overlap,
    check_precision,
    check_support,
    overlap_of,
    spread_within_arms,
)
from acgs.causal.comparison import Comparison, compare
from acgs.causal.controls import Placebo, check_placebo, measure_placebos
from acgs.causal.estimators import Estimate
from acgs.causal.permutation import RandomisationTest
from acgs.causal.plan import AuditPlan
from acgs.causal.planted import Recovery, check_recovery, plant_effects, plant_rewards
from acgs.causal.policies import PolicyComparison, compare_policy
from acgs.causal.report import WHOLE, AuditReport, AuditVerdict, Effect
from acgs.causal.table import LoggedTable
from acgs.statistics.evidence import InsufficientDataError, Verdict
from acgs.statistics.weights import diagnose_weights

BY_DESIGN: Final = "the logged propensities are those the arms were really drawn with"
UNCONFOUNDED: Final = "every common cause of arm and outcome is adjusted for (vouched for, not tested)"


@dataclass(slots=True)
class _Findings:
    """What an audit has found so far; it stays when the data give out halfway."""

    estimates: tuple[Estimate, ...] = ()
    overlap: Overlap | None = None
    dropped_share: float | None = None
    one_armed: int | None = None
    randomisation: RandomisationTest | None = None
    placebos: list[Placebo] = field(default_factory=list)
    planted: Recovery | None = None
    checks: list[Check] = field(default_factory=list)


def audit(table: LoggedTable, plan: AuditPlan | None = None, *, slice_name: str = WHOLE) -> AuditReport:
    """Judge the effect of one arm against the other, or of a target policy where the table has one.

    Raises:
        InvalidInputError: the table cannot be judged this way (more than two arms and no target policy).
    """
    plan = plan or AuditPlan()
    return _judge(table, plan, slice_name, _examine_policy if table.target is not None else _examine_arms)


def measure(table: LoggedTable, plan: AuditPlan | None = None) -> AuditReport:
    """The effect with its interval and diagnostics, without controls; its verdict is on overlap only.

    Raises:
        InvalidInputError: the table cannot be judged this way (more than two arms and no target policy).
    """
    plan = plan or AuditPlan()
    return _judge(table, plan, WHOLE, _measure_policy if table.target is not None else _measure_arms)


def audit_by_slice(table: LoggedTable, plan: AuditPlan | None = None) -> list[AuditReport]:
    """Judge the whole table, then each slice by itself; a slice that is too small is refused for that.

    Raises:
        InvalidInputError: the table has no slice column, or cannot be judged this way.
    """
    return [
        audit(table, plan),
        *(audit(rows, plan, slice_name=name) for name, rows in table.by_slice()),
    ]


def _judge(
    table: LoggedTable, plan: AuditPlan, slice_name: str, examine: Callable[[LoggedTable, AuditPlan, _Findings], object]
) -> AuditReport:
    found = _Findings()
    try:
        examine(table, plan, found)
    except InsufficientDataError as error:
        found.checks.append(Check("enough_data", Verdict.INSUFFICIENT, error.message))
    reasons = tuple(
        f"{check.verdict.value} {check.name}: {check.reason}"
        for check in found.checks
        if check.verdict is not Verdict.PASS
    )
    effects = tuple(Effect.of(estimate, plan.confidence) for estimate in found.estimates)
    assumptions = [] if table.propensity is None else [BY_DESIGN]
    if plan.assume_unconfounded and table.propensity is None:
        assumptions.append(UNCONFOUNDED)
    return AuditReport(
        verdict=AuditVerdict.REFUSED if reasons else AuditVerdict.ACCEPT,
        reasons=reasons,
        assumptions=tuple(assumptions),
        effect=None if reasons else effects[0],
        estimates=effects,
        slice_name=slice_name,
        estimand=plan.estimand if table.target is None else "policy",
        n=len(table),
        arms={name: int((table.arm == number).sum()) for number, name in enumerate(table.arms)},
        dropped_share=found.dropped_share,
        one_armed_strata=found.one_armed,
        overlap=found.overlap,
        randomisation=found.randomisation,
        placebos=tuple(found.placebos),
        planted=found.planted,
        checks=tuple(found.checks),
        seed=plan.seed,
        input_digest=table.digest(),
        plan=plan,
    )


def _measure_arms(table: LoggedTable, plan: AuditPlan, found: _Findings) -> Comparison:
    compared = compare(table, plan)
    found.estimates = compared.estimates
    found.dropped_share, found.one_armed = compared.dropped_share, compared.one_armed
    found.checks.append(check_support(compared, plan))
    found.randomisation = compared.randomisation(plan)
    found.overlap = overlap_of(compared)
    found.checks += check_overlap(found.overlap, plan)
    found.checks.append(check_balance(compared, plan))
    found.checks += check_mean_weights(compared, plan)
    found.checks += check_precision(compared.answer, plan)
    return compared


def _examine_arms(table: LoggedTable, plan: AuditPlan, found: _Findings) -> None:
    compared = _measure_arms(table, plan, found)

    def placebo(with_control: LoggedTable) -> tuple[Estimate, float, float | None]:
        judged = compare(with_control, plan)
        spread = spread_within_arms(judged.table.outcome, judged.table.treated)
        return judged.answer, spread, judged.randomisation(plan).p_value

    found.placebos = measure_placebos(compared.table, plan, placebo)
    _judge_controls(table, plan, found)
    found.planted = plant_effects(compared, plan)
    found.checks.append(check_recovery(found.planted, plan))


def _measure_policy(table: LoggedTable, plan: AuditPlan, found: _Findings) -> PolicyComparison:
    compared = compare_policy(table, plan)
    found.estimates = compared.estimates
    found.overlap = Overlap.worst([diagnose_weights(compared.weights)])
    found.checks += check_overlap(found.overlap, plan)
    found.checks.append(check_mean_weight(compared.weights, table.cluster, "target", plan, logged=True))
    if table.policy is not None:
        unsupported = 1 - float(table.policy.sum(axis=1).mean())
        verdict = Verdict.PASS if unsupported <= plan.most_unsupported else Verdict.FAIL
        text = (
            f"{unsupported:.2%} of the target policy is on arms never logged; at most {plan.most_unsupported:.0%} may"
        )
        found.checks.append(Check("support", verdict, text))
    found.checks += check_precision(compared.answer, plan)
    return compared


def _examine_policy(table: LoggedTable, plan: AuditPlan, found: _Findings) -> None:
    compared = _measure_policy(table, plan, found)

    def placebo(with_control: LoggedTable) -> tuple[Estimate, float, float | None]:
        answer = compare_policy(with_control, plan).answer
        return answer, float(with_control.outcome.std(ddof=1)), None

    found.placebos = measure_placebos(table, plan, placebo)
    _judge_controls(table, plan, found)
    found.planted = plant_rewards(compared, plan)
    found.checks.append(check_recovery(found.planted, plan))


def _judge_controls(table: LoggedTable, plan: AuditPlan, found: _Findings) -> None:
    found.checks += [check_placebo(placebo, plan) for placebo in found.placebos]
    if not table.controls and table.propensity is None and not plan.assume_unconfounded:
        found.checks.append(
            Check(
                "negative_control",
                Verdict.INSUFFICIENT,
                "there is no negative control and the propensities were not logged, so hidden confounding is untested; "
                "name an outcome that the arm cannot have changed, or vouch that every common cause is adjusted for",
            )
        )
