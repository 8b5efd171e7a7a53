"""The release contract: which guards a candidate has to pass, and the judgement of its evidence by all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from acgs.errors import InvalidInputError
from acgs.release.evidence import HARD_NL, Evidence
from acgs.release.guards.calibration import CalibrationStays, ForecastsCalibrated
from acgs.release.guards.composition import AllOf
from acgs.release.guards.coverage import EverySliceCovered
from acgs.release.guards.effect import EffectAccepted
from acgs.release.guards.guard import DEFAULT_BUDGET, ErrorBudget, Guard
from acgs.release.guards.latency import QuantileHolds, TailHolds
from acgs.release.guards.overlap import AnnAgrees
from acgs.release.guards.quality import EverySliceHolds, QualityHolds
from acgs.release.report import ContractReport, observe

GUARDS: Final[tuple[Guard, ...]] = (
    QualityHolds("quality, all queries"),
    QualityHolds("quality, hard-NL", HARD_NL),
    EverySliceHolds("quality, slice"),
    QuantileHolds("latency, p95"),
    TailHolds("latency, p99/p95"),
    AnnAgrees("approximate search"),
    ForecastsCalibrated("calibration"),
    CalibrationStays("calibration drift"),
    EverySliceCovered("conformal coverage"),
    EffectAccepted("causal audit"),
)
WAIVABLE: Final = frozenset(
    {"approximate search", "calibration", "calibration drift", "conformal coverage", "causal audit"}
)
"""What may mean nothing for a candidate, as approximate search without an index; quality and latency always mean it."""


@dataclass(frozen=True)
class Contract:
    """Guards that must all pass, and those that were waived, each with the reason."""

    name: str
    guard: AllOf
    waived: Mapping[str, str] = field(default_factory=dict)
    budget: ErrorBudget = DEFAULT_BUDGET

    def judge(self, evidence: Evidence, *, at: datetime) -> ContractReport:
        """Judge the evidence by every guard.

        Args:
            at: when, with its time zone; it is part of the report only.
        """
        result = self.guard.check(evidence, self.budget)
        return ContractReport(
            contract=self.name,
            judged_at=at,
            baseline=evidence.baseline,
            candidate=evidence.candidate,
            split=evidence.split,
            seed=evidence.seed,
            evidence_digest=evidence.digest(),
            confidence=self.budget.confidence,
            power=self.budget.power,
            verdict=result.verdict,
            result=result,
            observations=observe(evidence),
            waived=dict(self.waived),
        )


def t1_contract(*, waived: Mapping[str, str] | None = None, budget: ErrorBudget = DEFAULT_BUDGET) -> Contract:
    """The contract of a retrieval candidate (T1) against the configuration in force (T0).

    Args:
        waived: guards left out, each with the reason, which the report shows.

    Raises:
        InvalidInputError: a waiver without a reason, or of a guard that cannot be waived.
    """
    return contract_of("T1 release contract", GUARDS, check_waivers(waived, WAIVABLE), budget)


def check_waivers(waived: Mapping[str, str] | None, waivable: frozenset[str]) -> dict[str, str]:
    """The waivers, if each is of a guard that may be waived and has a reason.

    Raises:
        InvalidInputError: one is not, or has none.
    """
    given = dict(waived or {})
    wrong = [name for name, reason in given.items() if name not in waivable or not reason.strip()]
    if wrong:
        allowed = ", ".join(sorted(waivable)) or "none"
        raise InvalidInputError(
            f"{', '.join(wrong)}: a waiver needs a reason, and only these may be waived: {allowed}", field="waived"
        )
    return given


def contract_of(name: str, guards: Sequence[Guard], waived: Mapping[str, str], budget: ErrorBudget) -> Contract:
    """The contract of all guards that are not waived."""
    kept = [guard for guard in guards if guard.name not in waived]
    return Contract(name, AllOf("release", kept), waived, budget)
