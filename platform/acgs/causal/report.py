"""What an audit says: one document for machines, and rows for a table of many."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from acgs.causal.checks import Check, Overlap
from acgs.causal.controls import Placebo
from acgs.causal.estimators import Estimate
from acgs.causal.permutation import RandomisationTest
from acgs.causal.plan import AuditPlan
from acgs.causal.planted import Recovery
from acgs.statistics.evidence import Verdict

WHOLE = "all"
"""Name of the slice that is the whole table."""


class AuditVerdict(StrEnum):
    """ACCEPT: the effect may be believed within its interval. REFUSED: the log does not support it."""

    ACCEPT = "ACCEPT"
    REFUSED = "REFUSED"


class Effect(BaseModel):
    """An estimate with its interval, in the outcome's unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    value: float
    lower: float
    upper: float
    confidence: float
    standard_error: float
    units: int

    @classmethod
    def of(cls, estimate: Estimate, confidence: float) -> Effect:
        """The estimate with its interval at two-sided `confidence`."""
        lower, upper = estimate.interval(confidence)
        return cls(
            method=estimate.method,
            value=estimate.value,
            lower=lower,
            upper=upper,
            confidence=confidence,
            standard_error=estimate.error,
            units=estimate.units,
        )


class AuditReport(BaseModel):
    """The verdict, every reason for it, and what it needs to be repeated."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    verdict: AuditVerdict
    reasons: tuple[str, ...]
    """Of a refusal: every check that does not hold. Empty on acceptance."""
    assumptions: tuple[str, ...]
    """What was taken for granted because nothing in the data can test it."""
    effect: Effect | None
    """The answer; None where it is refused."""
    estimates: tuple[Effect, ...]
    """What each method gives, whatever the verdict; of a refused audit they are evidence, not answers."""
    slice_name: str
    estimand: str
    """`ate`, `att`, or `policy`: value of the target policy less the log's mean."""
    n: int
    arms: dict[str, int]
    """Rows of each arm."""
    dropped_share: float | None
    """Share of rows outside common support; None where none was looked for."""
    one_armed_strata: int | None
    overlap: Overlap | None
    randomisation: RandomisationTest | None
    """Test of no effect on the outcome, within strata."""
    placebos: tuple[Placebo, ...]
    planted: Recovery | None
    checks: tuple[Check, ...]
    seed: int
    input_digest: str
    plan: AuditPlan

    @property
    def accepted(self) -> bool:
        """Whether the effect may be believed."""
        return self.verdict is AuditVerdict.ACCEPT

    def document(self) -> dict[str, Any]:
        """The report as JSON values; infinite figures are texts."""
        import json

        document: dict[str, Any] = json.loads(self.model_dump_json())
        return document


def counterfactual_rows(reports: Iterable[AuditReport]) -> list[dict[str, str | float | int | bool | None]]:
    """One row for each report, as in `counterfactual_audit.csv`; None where there is no figure."""
    return [_row(report) for report in reports]


def _row(report: AuditReport) -> dict[str, str | float | int | bool | None]:
    values = [estimate.value for estimate in report.estimates]
    answer = report.estimates[0] if report.estimates else None
    return {
        "slice_name": report.slice_name,
        "n_samples": report.n,
        "ess": report.overlap.effective if report.overlap else None,
        "ess_ratio": report.overlap.effective_share if report.overlap else None,
        "valid_ess": _holds(report, "effective_sample_size"),
        "pareto_kappa": report.overlap.pareto_k if report.overlap else None,
        "valid_tails": _holds(report, "weight_tail"),
        "control_pvalue": min((placebo.adjusted for placebo in report.placebos), default=None),
        "valid_control": _holds(report, "negative_control"),
        "sign_consistent": (min(values) > 0 or max(values) < 0) if values else None,
        "overall_valid": report.accepted,
        "snips_delta": next((item.value for item in report.estimates if item.method == "snips"), None),
        "delta_range": max(values) - min(values) if values else None,
        "delta": answer.value if answer else None,
        "delta_lower": answer.lower if answer else None,
        "delta_upper": answer.upper if answer else None,
        "method": answer.method if answer else None,
        "effect_pvalue": report.randomisation.p_value if report.randomisation else None,
        "dropped_share": report.dropped_share,
        "verdict": report.verdict.value,
        "reasons": "; ".join(report.reasons),
        "seed": report.seed,
        "input_digest": report.input_digest,
    }


def _holds(report: AuditReport, name: str) -> bool | None:
    """Whether the checks of that name pass; None if there is none."""
    found = [check.verdict for check in report.checks if check.name.split(":")[0] == name]
    return all(verdict is Verdict.PASS for verdict in found) if found else None
