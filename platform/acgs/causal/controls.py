"""Negative controls: effects that cannot exist must be shown to be small, not merely fail to be shown.

The arm cannot have changed a control (an outcome of an earlier period, a score computed before the arm was chosen), so
any effect on it is bias of the kind that the outcome suffers too (Lipsitch, Tchetgen Tchetgen and Cohen 2010). It is
judged by two one-sided tests (Schuirmann 1987): a small sample that shows nothing passes nothing. All controls must
pass, each at the full level (Berger 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from acgs.causal.checks import Check
from acgs.causal.estimators import Estimate, two_sided_p
from acgs.causal.plan import AuditPlan
from acgs.causal.table import LoggedTable
from acgs.statistics.evidence import InsufficientDataError, Verdict
from acgs.statistics.multiplicity import holm


@dataclass(frozen=True, slots=True)
class Placebo:
    """The estimated effect on one control, in the control's standard deviations."""

    control: str
    value: float
    lower: float
    upper: float
    """Of the interval whose inclusion in the margin is the equivalence test: two-sided 1 - 2 alpha."""
    p_value: float
    """Of no effect, two-sided, by the estimate's own error."""
    adjusted: float
    """The same, adjusted for the number of controls (Holm 1979)."""
    permutation_p: float | None
    """Of no association within strata; None where there are no strata."""
    rows: int


Measure = Callable[[LoggedTable], tuple[Estimate, float, float | None]]
"""A table with a control as outcome -> the effect, the control's standard deviation, the permutation p-value."""


def measure_placebos(table: LoggedTable, plan: AuditPlan, measure: Measure) -> list[Placebo]:
    """Estimate the effect on each control the way the effect itself is estimated, the control adjusting for nothing.

    Raises:
        InsufficientDataError: a control that does not vary.
    """
    found: list[Placebo] = []
    for control in table.controls:
        try:
            estimate, spread, permutation_p = measure(table.placebo(control))
        except InsufficientDataError as error:
            raise InsufficientDataError(f"negative control {control}: {error.message}", field=control) from error
        low, high = estimate.interval(1 - 2 * plan.alpha)
        p_value = two_sided_p(estimate)
        found.append(
            Placebo(
                control=control,
                value=estimate.value / spread,
                lower=low / spread,
                upper=high / spread,
                p_value=p_value,
                adjusted=p_value,
                permutation_p=permutation_p,
                rows=len(table),
            )
        )
    if not found:
        return []
    adjusted = holm([placebo.p_value for placebo in found])
    return [replace(placebo, adjusted=float(after)) for placebo, after in zip(found, adjusted, strict=True)]


def check_placebo(placebo: Placebo, plan: AuditPlan) -> Check:
    """PASS if the interval lies inside the margin; if not, FAIL where there is evidence of an effect."""
    name = f"negative_control:{placebo.control}"
    text = (
        f"the placebo effect on {placebo.control} is {placebo.value:+.3f} sd "
        f"({1 - 2 * plan.alpha:.0%} interval {placebo.lower:+.3f} to {placebo.upper:+.3f})"
    )
    if -plan.margin < placebo.lower and placebo.upper < plan.margin:
        return Check(name, Verdict.PASS, f"{text}, inside +-{plan.margin:g}")
    if placebo.adjusted <= plan.alpha:
        return Check(
            name,
            Verdict.FAIL,
            f"{text}, not inside +-{plan.margin:g}: the arms differ by what the arm cannot have done",
        )
    return Check(
        name,
        Verdict.INSUFFICIENT,
        f"{text}, too wide for +-{plan.margin:g}{_needed(placebo, plan)}",
    )


def _needed(placebo: Placebo, plan: AuditPlan) -> str:
    room = plan.margin - abs(placebo.value)
    if room <= 0:
        return ""
    rows = ceil(placebo.rows * ((placebo.upper - placebo.lower) / 2 / room) ** 2)
    return f"; about {rows} rows would tell, if the estimate stays"
