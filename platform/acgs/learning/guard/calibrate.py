"""From out-of-fold logits to a calibrated policy forest: Platt, trees, out-of-bag diagnostics, steps, bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from acgs.constitution.lock import LockedConstitution
from acgs.errors import UnavailableError
from acgs.governance.bundle import Steps, StoredBand
from acgs.governance.consensus import effective_votes, reachable_confidence
from acgs.governance.diagnostics import OutOfBagReport, out_of_bag_report, out_of_bag_scores
from acgs.governance.diversity import GrownForest, grow, smallest_forest
from acgs.governance.features import OVERALL, feature_names, feature_row, probabilities
from acgs.governance.forest import Floats, Forest
from acgs.governance.scenarios.generator import Situation
from acgs.policy.clauses import ClauseEngine
from acgs.policy.engine import RuleInput
from acgs.statistics.calibration import CalibrationSteps, isotonic_steps, platt
from acgs.statistics.conformal import conformal_band

_TREES_PER_NECESSARY = 3
"""The forest is three times the smallest that could reach the strictest threshold, so that some trees may err."""
_FEATURE_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class CalibratedForest:
    """A judged forest with its calibration."""

    grown: GrownForest
    report: OutOfBagReport
    calibration: CalibrationSteps
    bands: dict[str, StoredBand]
    threshold: float
    metrics: dict[str, Any]


def platt_heads(
    logits: NDArray[np.float32], labels: NDArray[np.float32], weights: NDArray[np.float32]
) -> list[tuple[float, float]]:
    """Platt parameters of each head from held-out logits of shape (n, heads)."""
    return [
        platt(logits[:, head].astype(float), labels[:, head] > 0.5, weights.astype(float))
        for head in range(logits.shape[1])
    ]


def feature_rows(
    constitution: LockedConstitution,
    heads: list[str],
    logits: NDArray[np.float32],
    platt_parameters: list[tuple[float, float]],
    situations: list[Situation],
) -> Floats:
    """Forest rows, shape (n, features), from what the text (logits) and the situation (rules) say."""
    names = feature_names(constitution.document.principle_ids)
    columns = np.array([names.index(OVERALL if head == "overall" else head) for head in heads])
    engine = ClauseEngine(constitution)
    scores = probabilities(logits, np.array(platt_parameters))
    rows = np.zeros((len(logits), len(names)))
    for number, situation in enumerate(situations):
        request = RuleInput(("common", situation.domain), situation.context)
        violations = engine.evaluate(request) if situation.context else ()
        rows[number] = feature_row(scores[number], columns, violations, names)
    return rows


def calibrate_forest(
    constitution: LockedConstitution,
    rows: Floats,
    violates: NDArray[np.bool_],
    groups: NDArray[np.int64],
    weights: Floats,
    *,
    seed: int,
) -> CalibratedForest:
    """Grow, judge and calibrate.

    Raises:
        UnavailableError: no verdict could ever be as confident as some domain asks; the message says which.
    """
    profiles = constitution.document.domains
    strictest = max(profile.confidence_threshold for profile in profiles.values())
    names = feature_names(constitution.document.principle_ids)
    grown = grow(
        rows,
        violates,
        groups,
        weights,
        trees=_TREES_PER_NECESSARY * smallest_forest(strictest),
        features_per_tree=round(_FEATURE_SHARE * len(names)),
        seed=seed,
    )
    forest = Forest(grown.trees, np.ones(grown.trees.count), names)
    values = forest.tree_values(rows)
    report = out_of_bag_report(
        values, grown.out_of_bag, violates, threshold=constitution.document.thresholds.out_of_bag_error
    )
    scores = out_of_bag_scores(values, grown.out_of_bag, report.weights)
    seen = np.isfinite(scores)
    scores, labels = scores[seen], violates[seen]
    calibration = isotonic_steps(scores, labels)
    for side, reachable in zip(("comply", "violate"), reachable_confidence(calibration), strict=True):
        if reachable < strictest:
            raise UnavailableError(
                f"no '{side}' can reach the confidence {strictest} that the strictest domain asks (best: "
                f"{reachable:.3f}); train on more scenarios or lower the threshold"
            )
    bands, coverage = {}, {}
    for domain, profile in profiles.items():
        bands[domain], coverage[domain] = _band(scores, labels, groups[seen], profile.violation_threshold)
    # Both labels weigh the same: how many violations the training sets hold says nothing about a user's traffic.
    balanced = weights[seen] / np.where(labels, weights[seen][labels].sum(), weights[seen][~labels].sum())
    precision, recall, cuts = precision_recall_curve(labels, scores, sample_weight=balanced)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    metrics = {
        "out_of_bag_auprc": float(average_precision_score(labels, scores)),
        "out_of_bag_auroc": float(roc_auc_score(labels, scores)),
        "scenarios": len(labels),
        "trees": grown.trees.count,
        "effective_votes": effective_votes(report.weights),
        "mean_error_correlation": grown.mean_error_correlation,
        "max_error_correlation": grown.max_error_correlation,
        "reachable_confidence": list(reachable_confidence(calibration)),
        "conformal_coverage": coverage,
    }
    return CalibratedForest(grown, report, calibration, bands, float(cuts[int(f1[:-1].argmax())]), metrics)


def _band(
    scores: Floats, labels: NDArray[np.bool_], groups: NDArray[np.int64], alpha: float
) -> tuple[StoredBand, dict[str, float]]:
    """The domain's cuts, and their coverage measured on the half of the groups that did not set the measured cuts."""
    half = groups % 2 == 0
    trial = conformal_band(scores[half], labels[half], alpha)
    verdicts = np.array([trial.decide(score) for score in scores[~half]])
    truth = labels[~half]
    coverage = {
        "violate": float((verdicts[truth] != "comply").mean()),
        "comply": float((verdicts[~truth] != "violate").mean()),
        "uncertain": float((verdicts == "uncertain").mean()),
    }
    band = conformal_band(scores, labels, alpha)
    stored = StoredBand(
        violate_from=band.violate_from if np.isfinite(band.violate_from) else None,
        comply_to=band.comply_to if np.isfinite(band.comply_to) else None,
        alpha=alpha,
    )
    return stored, coverage


def steps_of(calibration: CalibrationSteps) -> Steps:
    """The storable form of a calibration."""
    return Steps(
        edges=calibration.edges.tolist(),
        probability=calibration.probability.tolist(),
        lower=calibration.lower.tolist(),
        upper=calibration.upper.tolist(),
    )
