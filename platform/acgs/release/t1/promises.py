"""What a run promises of single queries, checked on queries it was not made from: coverage and calibrated forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from acgs.release.evidence import Forecasts, SliceCoverage
from acgs.release.guards.guard import DEFAULT_BUDGET
from acgs.release.t1.confirmation import Confirmed
from acgs.statistics.calibration import platt
from acgs.statistics.conformal import check_coverage, mondrian_cuts
from acgs.statistics.evidence import Floats, InsufficientDataError

ALPHA: Final = 0.05
QUANTITY: Final = "change of nDCG@10"
EVENT: Final = "the first passage is relevant"
COVERAGE_COLUMNS: Final = (
    "slice", "coverage_percentage", "n_samples", "target_min", "target_max", "in_range",
    "quantity", "half_width", "calibrated_on", "verdict",
)  # fmt: skip


def coverage(
    confirmed: Sequence[Confirmed], slices: Mapping[str, Sequence[str]], seed: int
) -> tuple[list[SliceCoverage], list[dict[str, Any]]]:
    """Conformal intervals of each query's change of nDCG@10 around the predicted one, a cut for each slice.

    Half of the confirmed queries set the cuts, the other half test them. Where no gain is predicted the interval is
    around 0.

    Returns:
        Evidence by slice, and the rows of the report; of a slice too small for a cut nothing is tested, which the
        contract calls INSUFFICIENT.
    """
    order = np.random.default_rng(seed).permutation(len(confirmed))
    half = set(order[: len(order) // 2].tolist())
    residuals = np.array([abs(item.change - (item.predicted_gain or 0.0)) for item in confirmed])
    confidence = DEFAULT_BUDGET.shared_by_any(len(slices)).confidence  # as the contract judges them
    evidence, rows = [], []
    for name, members in slices.items():
        held = set(members)
        calibrate = [row for row, item in enumerate(confirmed) if item.query in held and row in half]
        test = [row for row, item in enumerate(confirmed) if item.query in held and row not in half]
        cut = mondrian_cuts(residuals[calibrate], [name] * len(calibrate), ALPHA)[name] if calibrate else None
        if cut is None or not test:
            rows.append({"slice": name, "n_samples": len(test), "quantity": QUANTITY, "calibrated_on": len(calibrate),
                         "verdict": "INSUFFICIENT"})  # fmt: skip
            evidence.append(
                SliceCoverage(slice=name, quantity=QUANTITY, alpha=ALPHA, covered=0, tested_on=0,
                              calibrated_on=len(calibrate))
            )  # fmt: skip
            continue
        covered = int((residuals[test] <= cut).sum())
        ties = len(np.unique(residuals[calibrate])) < len(calibrate)
        found = check_coverage(
            covered, len(test), len(calibrate), ALPHA, confidence=confidence, over_coverage_fails=not ties
        )
        evidence.append(
            SliceCoverage(slice=name, quantity=QUANTITY, alpha=ALPHA, covered=covered, tested_on=len(test),
                          calibrated_on=len(calibrate), ties=ties)
        )  # fmt: skip
        rows.append(
            {
                "slice": name,
                "coverage_percentage": round(covered / len(test), 6),
                "n_samples": len(test),
                "target_min": found.low,
                "target_max": found.high,
                "in_range": found.low <= covered / len(test) <= found.high,
                "quantity": QUANTITY,
                "half_width": round(float(cut), 6),
                "calibrated_on": len(calibrate),
                "verdict": str(found.verdict),
            }
        )
    return evidence, rows


def forecasts(
    confirmed: Sequence[Confirmed], judgements: Mapping[str, Mapping[str, int]], ids: Sequence[str]
) -> Forecasts | None:
    """P(the first passage is relevant) from the margin of the first over the second score, cross-fitted over folds.

    Args:
        ids: document id by number.

    Returns:
        None where a fold's queries are all answered alike, so that nothing can be learned.
    """
    margins = np.array([_margin(item) for item in confirmed])
    labels = np.array([_first_is_relevant(item, judgements[item.query], ids) for item in confirmed])
    folds = np.array([item.fold for item in confirmed])
    stated: Floats = np.zeros(len(confirmed))
    for fold in np.unique(folds):
        others = folds != fold
        if labels[others].all() or not labels[others].any():
            return None
        try:
            slope, offset = platt(margins[others], labels[others])
        except InsufficientDataError:
            return None
        stated[folds == fold] = 1 / (1 + np.exp(-(slope * margins[folds == fold] + offset)))
    return Forecasts(event=EVENT, probabilities=stated, labels=labels)


def _first_is_relevant(item: Confirmed, grades: Mapping[str, int], ids: Sequence[str]) -> bool:
    """Whether there is a first passage, and it is judged relevant."""
    numbers = item.candidate.numbers
    return len(numbers) > 0 and grades.get(ids[int(numbers[0])], 0) > 0


def _margin(item: Confirmed) -> float:
    """First minus second score in units of the spread of the first ten."""
    scores = item.candidate.scores.astype(np.float64)
    if len(scores) < 2:
        return 0.0
    spread = float(scores[0] - scores[-1])
    return float(scores[0] - scores[1]) / spread if spread > 0 else 0.0
