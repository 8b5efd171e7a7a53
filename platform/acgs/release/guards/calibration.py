"""Stated probabilities against what happened: the error itself, and how far it has moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from acgs.release.evidence import Evidence, Forecasts
from acgs.release.guards.guard import ErrorBudget, MeasuringGuard, Reading
from acgs.statistics.calibration_error import (
    BINS,
    FEWEST_PER_BIN,
    CalibrationError,
    adaptive_calibration_error,
    calibration_drift,
)
from acgs.statistics.evidence import Verdict

ERROR: Final = 0.05
DRIFT: Final = 0.02
"""To see so little takes some 30,000 labels on each side (`labels_for_limit`, twice)."""


@dataclass(frozen=True)
class ForecastsCalibrated(MeasuringGuard):
    """Adaptive calibration error shown to be at most `margin`, where the noise floor allows to see it."""

    name: str
    margin: float = ERROR
    minimum_n: int = BINS * FEWEST_PER_BIN
    unit: str = "AECE"

    def count(self, evidence: Evidence) -> int:
        """Number of labelled forecasts."""
        return len(evidence.forecasts.labels) if evidence.forecasts else 0

    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Judge the error over bins of equal mass."""
        now = _present(evidence.forecasts)
        error = adaptive_calibration_error(now.probabilities, now.labels, confidence=budget.confidence)
        return _judged(error, self.margin, f"calibration error of '{now.event}'")


@dataclass(frozen=True)
class CalibrationStays(MeasuringGuard):
    """Calibration shown to have moved by at most `margin` since the earlier forecasts."""

    name: str
    margin: float = DRIFT
    minimum_n: int = BINS * FEWEST_PER_BIN
    unit: str = "AECE"

    def count(self, evidence: Evidence) -> int:
        """Number of labelled forecasts in the smaller set."""
        both = (evidence.forecasts, evidence.earlier_forecasts)
        return min(len(each.labels) if each else 0 for each in both)

    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Judge how far the gaps of the bins have moved."""
        before, now = _present(evidence.earlier_forecasts), _present(evidence.forecasts)
        moved = calibration_drift(
            (before.probabilities, before.labels), (now.probabilities, now.labels), confidence=budget.confidence
        )
        return _judged(moved, self.margin, f"drift of '{now.event}'")


def _present(forecasts: Forecasts | None) -> Forecasts:
    assert forecasts is not None  # `count` found labels
    return forecasts


def _judged(error: CalibrationError, margin: float, what: str) -> Reading:
    verdict = error.judge(margin)
    reason = {
        Verdict.PASS: f"the {what} is at most {margin:g}",
        Verdict.FAIL: f"the {what} is above {margin:g}",
        Verdict.INSUFFICIENT: f"the {what} cannot be told from {margin:g} over a noise floor of {error.floor:.3f}; "
        "label more",
    }[verdict]
    return Reading(verdict, reason, error.debiased, error.upper, margin, f"debiased, {error.bins} bins of equal mass")
