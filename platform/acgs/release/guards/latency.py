"""Latency against the baseline, over paired replays of the same requests: the p95, and the tail beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from acgs.release.attempts import resamples_for
from acgs.release.evidence import Evidence, LatencyPairs
from acgs.release.guards.guard import ErrorBudget, MeasuringGuard, Reading, shown
from acgs.statistics.bootstrap import (
    FEWEST,
    FEWEST_BEYOND,
    paired_quantile_change,
    quantile_confidence,
    resampled_quantiles,
    units_for,
)
from acgs.statistics.evidence import InsufficientDataError, Verdict

P95_CHANGE_MS: Final = 1.0
TAIL_GROWTH: Final = 1.5
FEWEST_FOR_P95: Final = units_for(0.95, FEWEST)
FEWEST_FOR_P99: Final = units_for(0.99, FEWEST)
TAIL: Final = (0.95, 0.99)


@dataclass(frozen=True)
class QuantileHolds(MeasuringGuard):
    """UCB(quantile of the candidate - quantile of the baseline) <= `margin`; the p95 unless told otherwise."""

    name: str
    margin: float = P95_CHANGE_MS
    minimum_n: int = FEWEST_FOR_P95
    quantile: float = 0.95
    unit: str = "ms"

    def count(self, evidence: Evidence) -> int:
        """Number of timed pairs."""
        return len(evidence.latency.baseline_ms) if evidence.latency else 0

    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Bound the change of the quantile by a paired bootstrap of whole requests."""
        pairs = _pairs(evidence, self.quantile)
        bounds = paired_quantile_change(
            pairs.baseline_ms,
            pairs.candidate_ms,
            self.quantile,
            confidence=budget.confidence,
            clusters=pairs.cluster_numbers(),
            resamples=resamples_for(quantile_confidence(budget.confidence, self.quantile, pairs.requests)),
            seed=evidence.seed,
        )
        verdict = shown(good=bounds.upper <= self.margin, bad=bounds.lower > self.margin)
        limit, what = f"{self.margin:g} ms", f"p{self.quantile * 100:g}"
        reason = {
            Verdict.PASS: f"the {what} rises by at most {limit}",
            Verdict.FAIL: f"the {what} rises by more than {limit}",
            Verdict.INSUFFICIENT: f"the bounds of the {what}'s change, {bounds.lower:+.2f} to {bounds.upper:+.2f} ms, "
            f"hold {limit}; replay more requests",
        }[verdict]
        method = f"paired {bounds.method} bootstrap of {pairs.requests} requests"
        return Reading(verdict, reason, bounds.estimate, bounds.upper, self.margin, method)


@dataclass(frozen=True)
class TailHolds(MeasuringGuard):
    """UCB(p99/p95 of the candidate, divided by that of the baseline) <= `margin`."""

    name: str
    margin: float = TAIL_GROWTH
    minimum_n: int = FEWEST_FOR_P99
    unit: str = "x baseline"

    def count(self, evidence: Evidence) -> int:
        """Number of timed pairs."""
        return len(evidence.latency.baseline_ms) if evidence.latency else 0

    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Bound the ratio of ratios by a paired bootstrap of whole requests."""
        pairs = _pairs(evidence, max(TAIL))
        sides, clusters = (pairs.baseline_ms, pairs.candidate_ms), pairs.cluster_numbers()
        confidence = quantile_confidence(budget.confidence, max(TAIL), pairs.requests)
        drawn = resampled_quantiles(sides, TAIL, clusters, resamples_for(confidence), evidence.seed)
        tails = np.concatenate([of[:, :, 1] / of[:, :, 0] for of in drawn], axis=1)
        lower, upper = np.quantile(tails[1] / tails[0], [1 - confidence, confidence])
        verdict = shown(good=bool(upper <= self.margin), bad=bool(lower > self.margin))
        reason = {
            Verdict.PASS: f"p99/p95 is at most {self.margin:g} times the baseline's",
            Verdict.FAIL: f"p99/p95 is more than {self.margin:g} times the baseline's",
            Verdict.INSUFFICIENT: "the bounds of p99/p95 hold the margin; replay more requests",
        }[verdict]
        before, after = (np.quantile(side, TAIL) for side in sides)
        value = float(after[1] / after[0] / (before[1] / before[0]))
        method = f"paired percentile bootstrap of {pairs.requests} requests"
        return Reading(verdict, reason, value, float(upper), self.margin, method)


def _pairs(evidence: Evidence, quantile: float) -> LatencyPairs:
    """The timed pairs.

    Raises:
        InsufficientDataError: of so few different requests too few lie beyond the quantile, however often each was
            timed.
    """
    pairs = evidence.latency
    assert pairs is not None  # `count` found some
    needed = units_for(quantile, FEWEST_BEYOND)
    if pairs.requests < needed:
        raise InsufficientDataError(
            f"{pairs.requests} different requests were timed, and p{quantile * 100:g} needs {needed}", field="latency"
        )
    return pairs
