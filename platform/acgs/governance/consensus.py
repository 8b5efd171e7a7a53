"""Step 2, consensus: from the trees' votes to a verdict with a calibrated confidence.

The verdict is what the conformal band of the domain leaves possible; the confidence is the lower bound of the
calibrated probability that the verdict is right. Below the domain's threshold the verdict is `uncertain`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acgs.governance.forest import Evaluation, Floats
from acgs.statistics.bounds import wilson_lower
from acgs.statistics.calibration import CalibrationSteps
from acgs.statistics.conformal import Band


@dataclass(frozen=True, slots=True)
class Consensus:
    """The forest's verdict on one request."""

    verdict: str
    """`comply`, `violate` or `uncertain`."""
    confidence: float
    """Lower bound of the calibrated probability that the verdict is right (uncertain: of the likelier side)."""
    violation_probability: float
    """Calibrated probability of a violation."""
    agreement: float
    """Weighted share of votes for the likelier side."""
    agreement_lower_bound: float
    """Wilson lower bound of the agreement, at the effective number of votes."""


@dataclass(frozen=True, slots=True)
class DomainThresholds:
    """What a domain asks of a verdict."""

    confidence: float
    band: Band


def effective_votes(weights: Floats) -> float:
    """Kish's effective number of equal votes."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def reach_consensus(
    evaluation: Evaluation, weights: Floats, calibration: CalibrationSteps, thresholds: DomainThresholds
) -> Consensus:
    """Weigh the votes and decide."""
    probability, lower, upper = calibration.at(evaluation.score)
    verdict = thresholds.band.decide(evaluation.score)
    leans_violate = probability >= 0.5 if verdict == "uncertain" else verdict == "violate"
    confidence = lower if leans_violate else 1.0 - upper
    if confidence < thresholds.confidence:
        verdict = "uncertain"
    # Summing in another order can leave a unanimous vote a rounding error above 1.
    share = min(1.0, float(weights @ (evaluation.tree_values >= 0.5)) / float(weights.sum()))
    agreement = share if leans_violate else 1.0 - share
    votes = effective_votes(weights)
    return Consensus(
        verdict=verdict,
        confidence=confidence,
        violation_probability=probability,
        agreement=agreement,
        agreement_lower_bound=wilson_lower(agreement * votes, votes),
    )


def reachable_confidence(calibration: CalibrationSteps) -> tuple[float, float]:
    """The highest confidence a `comply` and a `violate` can have under this calibration."""
    return float(np.max(1.0 - calibration.upper)), float(np.max(calibration.lower))
