"""Approximate against exact search: the mean Jaccard@10 stays near 1."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import Final

from acgs.release.evidence import Evidence
from acgs.release.guards.guard import ErrorBudget, MeasuringGuard, Reading, shown
from acgs.statistics.betting import betting_bounds
from acgs.statistics.evidence import CONFIDENCE, Verdict

JACCARD: Final = 0.98
FEWEST_QUERIES: Final = ceil(-log(1 - CONFIDENCE) / (1 - JACCARD))
"""With fewer, even perfect agreement could not clear the margin (the rule of three)."""


@dataclass(frozen=True)
class AnnAgrees(MeasuringGuard):
    """LCB(mean Jaccard@10 of approximate and exact search) >= `margin`.

    Most values are exactly 1, of which a bootstrap learns nothing, so the bound is that of betting.
    """

    name: str
    margin: float = JACCARD
    minimum_n: int = FEWEST_QUERIES
    unit: str = "Jaccard@10"

    def count(self, evidence: Evidence) -> int:
        """Number of queries searched both ways."""
        return len(evidence.overlap.jaccard) if evidence.overlap else 0

    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Bound the mean of values in [0, 1]."""
        assert evidence.overlap is not None  # `count` found queries
        values = evidence.overlap.jaccard
        lower, upper = betting_bounds(values, 0.0, 1.0, alpha=1 - budget.confidence)
        verdict = shown(good=lower >= self.margin, bad=upper < self.margin)
        reason = {
            Verdict.PASS: f"approximate search finds what exact search finds, to {self.margin:g}",
            Verdict.FAIL: f"approximate search agrees with exact search by less than {self.margin:g}",
            Verdict.INSUFFICIENT: "the bounds of the agreement hold the margin; search more queries both ways",
        }[verdict]
        return Reading(verdict, reason, float(values.mean()), lower, self.margin, "betting")
