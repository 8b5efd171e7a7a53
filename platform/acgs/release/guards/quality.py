"""Quality against the baseline: the lower bound of the mean paired delta (of nDCG@10, accuracy) clears a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from acgs.release.evidence import Evidence, QualityPairs
from acgs.release.guards.composition import AllOf
from acgs.release.guards.guard import DEFAULT_BUDGET, ErrorBudget, Guard, GuardResult, MeasuringGuard, Reading
from acgs.statistics.betting import clustered_betting_bounds
from acgs.statistics.bootstrap import FEWEST, Bounds, paired_bca
from acgs.statistics.bounds import proportion_upper
from acgs.statistics.evidence import Floats, Verdict
from acgs.statistics.power import pairs_needed

EXPECTED_GAIN: Final = 0.0231
"""Gain in nDCG@10 that a candidate of this kind is built for; the contract is planned so that such a gain shows."""
SLICE_MARGIN: Final = -0.01
"""A slice may lose up to one point of nDCG@10."""
FEW_CHANGED: Final = "few changed"
"""Begins the name of the bounds where too few queries changed for a bootstrap."""
MATERIAL: Final = 0.01
"""A query counts as changed from this delta on, or from the margin where that is wider."""
FEWEST_QUERIES: Final = 50
FEWEST_QUERIES_OF_A_SLICE: Final = 30


@dataclass(frozen=True)
class QualityHolds(MeasuringGuard):
    """LCB(mean delta) >= `margin`, over all queries or one slice.

    Between the bounds it is the power that tells: with so many queries that the expected delta would have shown, a
    delta that does not show is a FAIL, with fewer it is INSUFFICIENT.
    """

    name: str
    slice_name: str | None = None
    margin: float = 0.0
    expected: float = EXPECTED_GAIN
    minimum_n: int = FEWEST_QUERIES
    unit: str = "nDCG@10"

    def count(self, evidence: Evidence) -> int:
        """Number of paired queries."""
        return len(evidence.quality.members(self.slice_name)) if evidence.quality else 0

    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Bound the mean delta, and judge."""
        deltas, bounds = quality_bounds(
            evidence.quality, self.slice_name, budget.confidence, evidence.seed, material=max(MATERIAL, -self.margin)
        )
        holds, breaks = bounds.lower >= self.margin, bounds.upper < self.margin
        if bounds.method.startswith(FEW_CHANGED):
            # So few queries changed that their spread says nothing of power: what counts is what the bounds rule out.
            no_gain = bounds.upper < self.expected and self.expected > self.margin
            verdict = Verdict.PASS if holds else Verdict.FAIL if breaks or no_gain else Verdict.INSUFFICIENT
            reason = self._reason_of_few(verdict, breaks, bounds)
        else:
            needed = self._needed(deltas, budget)
            shown = breaks or bounds.units >= needed
            verdict = Verdict.PASS if holds else Verdict.FAIL if shown else Verdict.INSUFFICIENT
            reason = self._reason(verdict, breaks, needed)
        return Reading(
            verdict=verdict,
            reason=reason,
            value=bounds.estimate,
            bound=bounds.lower,
            margin=self.margin,
            method=bounds.method,
        )

    def _needed(self, deltas: Floats, budget: ErrorBudget) -> int:
        """Queries at which the expected delta would show, given how the deltas spread."""
        spread = float(deltas.std(ddof=1))
        if spread == 0 or self.expected <= self.margin:
            return self.minimum_n
        return max(
            self.minimum_n,
            pairs_needed(self.expected - self.margin, spread, confidence=budget.confidence, power=budget.power),
        )

    def _reason_of_few(self, verdict: Verdict, breaks: bool, bounds: Bounds) -> str:
        if verdict == Verdict.PASS or breaks:
            return self._reason(verdict, breaks, 0)
        if verdict == Verdict.FAIL:
            return f"so few queries are answered otherwise that a mean delta of {self.expected:+.4f} is ruled out"
        return (
            f"few queries are answered otherwise, and {bounds.units} in all leave room for a mean delta of "
            f"{bounds.lower:+.3f}; measure more"
        )

    def _reason(self, verdict: Verdict, breaks: bool, needed: int) -> str:
        if verdict == Verdict.PASS:
            return f"the lower bound of the mean delta is at least {self.margin:+.3f}"
        if breaks:
            return f"even the upper bound of the mean delta lies below {self.margin:+.3f}"
        if verdict == Verdict.FAIL:
            return f"a mean delta of {self.expected:+.4f} would have shown with {needed} queries, and did not"
        return f"a mean delta of {self.expected:+.4f} needs {needed} queries to show"


@dataclass(frozen=True)
class EverySliceHolds(Guard):
    """Each slice of the evidence by itself: LCB(mean delta) >= `margin`."""

    name: str
    margin: float = SLICE_MARGIN
    minimum_n: int = FEWEST_QUERIES_OF_A_SLICE
    unit: str = "nDCG@10"

    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        """Judge all slices; without slices it is INSUFFICIENT."""
        names = sorted(evidence.quality.slices) if evidence.quality else []
        if not names:
            return self._slice("any slice").check(evidence, budget)
        return AllOf(self.name, [self._slice(name) for name in names]).check(evidence, budget)

    def _slice(self, name: str) -> QualityHolds:
        return QualityHolds(
            f"{self.name}: {name}", name, self.margin, expected=0.0, minimum_n=self.minimum_n, unit=self.unit
        )


def quality_bounds(
    pairs: QualityPairs | None, slice_name: str | None, confidence: float, seed: int, *, material: float = MATERIAL
) -> tuple[Floats, Bounds]:
    """Deltas of a slice's queries (all for None) and the bounds of their mean, by the BCa bootstrap.

    Of a few changed queries resampling learns nothing: it would take what it has not seen for impossible. There the
    share of changed ones is bounded (Clopper and Pearson 1934), as if each went all the way; and their mean by betting
    (Waudby-Smith and Ramdas 2024), half of the error for each. Queries that share a user or a template count once, as
    if all such clusters were as large as the largest.

    Args:
        material: least delta of a changed query.

    Raises:
        InsufficientDataError: too few queries for any bound.
    """
    assert pairs is not None  # `count` found queries
    members = pairs.members(slice_name)
    deltas, clusters = pairs.deltas[members], pairs.cluster_numbers()
    clusters = np.arange(len(members)) if clusters is None else clusters[members]
    clusters = np.unique(clusters, return_inverse=True)[1]
    sizes, large = np.bincount(clusters), abs(deltas) >= material
    changed, units, alone = len(np.unique(clusters[large])), len(sizes), len(sizes) == len(members)
    if changed >= FEWEST:
        return deltas, paired_bca(deltas, confidence=confidence, clusters=None if alone else clusters, seed=seed)
    half, scale = (1 + confidence) / 2, int(sizes.max()) * units / len(members)
    reach = proportion_upper(changed, units, confidence=half) * scale + abs(deltas[~large]).max(initial=0.0)
    low, high = clustered_betting_bounds(deltas, clusters, -1.0, 1.0, alpha=1 - half)
    lower, upper = max(low, -reach, -1.0), min(high, reach, 1.0)
    method = f"{FEW_CHANGED} ({changed}): clopper-pearson, betting"
    return deltas, Bounds(float(deltas.mean()), lower, upper, confidence, len(deltas), units, method)
