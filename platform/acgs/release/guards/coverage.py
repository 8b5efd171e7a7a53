"""Conformal promises, slice by slice: the coverage seen agrees with its exact law."""

from __future__ import annotations

from dataclasses import dataclass

from acgs.release.evidence import Evidence, SliceCoverage
from acgs.release.guards.composition import AllOf
from acgs.release.guards.guard import DEFAULT_BUDGET, ErrorBudget, Guard, GuardResult, MeasuringGuard, Reading
from acgs.statistics.conformal import check_coverage
from acgs.statistics.evidence import Verdict


@dataclass(frozen=True)
class SliceCovered(MeasuringGuard):
    """Coverage of one slice inside its Beta-binomial acceptance interval. `slices` are judged together.

    Here a promise that holds is what is doubted, so each slice gets its part of alpha: else five good slices would
    pass together three times out of four only.
    """

    name: str
    slice_name: str
    slices: int = 1
    minimum_n: int = 1
    unit: str = "coverage"

    def count(self, evidence: Evidence) -> int:
        """Number of scores tested."""
        found = self._found(evidence)
        return found.tested_on if found else 0

    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Judge the number covered; `bound` is the end of the interval that is nearer."""
        item = self._found(evidence)
        assert item is not None  # `count` found scores
        check = check_coverage(
            item.covered,
            item.tested_on,
            item.calibrated_on,
            item.alpha,
            confidence=budget.shared_by_any(self.slices).confidence,
            over_coverage_fails=not item.ties,
        )
        promised = 1 - item.alpha
        span = f"{check.low:.3f} to {check.high:.3f}"
        reason = {
            Verdict.PASS: f"coverage of {item.quantity} lies within {span}, as a promise of {promised:g} allows",
            Verdict.FAIL: f"coverage of {item.quantity} lies outside {span}, so the promise of {promised:g} is broken",
            Verdict.INSUFFICIENT: f"{span} accepts nearly anything; calibrate and test on more",
        }[check.verdict]
        near = check.low if check.coverage < promised else check.high
        return Reading(check.verdict, reason, check.coverage, near, promised, "beta-binomial")

    def _found(self, evidence: Evidence) -> SliceCoverage | None:
        return next((item for item in evidence.coverage if item.slice == self.slice_name), None)


@dataclass(frozen=True)
class EverySliceCovered(Guard):
    """The promise holds on each slice of the evidence."""

    name: str

    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        """Judge all slices; without any it is INSUFFICIENT."""
        names = sorted(item.slice for item in evidence.coverage)
        if not names:
            return SliceCovered(self.name, "").check(evidence, budget)
        guards = [SliceCovered(f"{self.name}: {name}", name, len(names)) for name in names]
        return AllOf(self.name, guards).check(evidence, budget)
