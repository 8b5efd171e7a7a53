from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.governance.consensus import (
    DomainThresholds,
    effective_votes,
    reach_consensus,
    reachable_confidence,
)
from acgs.governance.forest import Evaluation, Floats
from acgs.statistics.bounds import wilson_lower
from acgs.statistics.calibration import CalibrationSteps
from acgs.statistics.conformal import Band

CALIBRATION = CalibrationSteps(
    edges=np.array([0.0, 0.3, 0.7]),
    probability=np.array([0.02, 0.5, 0.97]),
    lower=np.array([0.01, 0.4, 0.93]),
    upper=np.array([0.05, 0.6, 0.99]),
)
BAND = Band(violate_from=0.6, comply_to=0.4)


def evaluation(*values: float, weights: Floats | None = None) -> Evaluation:
    tree_values = np.array(values)
    chosen = np.ones(len(values)) if weights is None else weights
    return Evaluation(float(np.average(tree_values, weights=chosen)), tree_values, np.zeros(1))


def verdict(score: float, confidence: float, band: Band = BAND) -> str:
    return reach_consensus(
        Evaluation(score, np.full(10, score), np.zeros(1)), np.ones(10), CALIBRATION, DomainThresholds(confidence, band)
    ).verdict


def test_trees_that_agree_decide_with_the_calibrated_bound_as_confidence() -> None:
    consensus = reach_consensus(evaluation(*[1.0] * 20), np.ones(20), CALIBRATION, DomainThresholds(0.9, BAND))
    assert consensus.verdict == "violate"
    assert consensus.confidence == 0.93
    assert consensus.agreement == 1.0
    assert consensus.agreement_lower_bound == pytest.approx(wilson_lower(20, 20))
    consensus = reach_consensus(evaluation(*[0.0] * 20), np.ones(20), CALIBRATION, DomainThresholds(0.9, BAND))
    assert consensus.verdict == "comply"
    assert consensus.confidence == pytest.approx(0.95)


def test_a_score_between_the_conformal_cuts_is_uncertain_at_any_threshold() -> None:
    assert verdict(0.5, 0.0) == "uncertain"


def test_a_score_that_both_labels_allow_is_uncertain() -> None:
    assert verdict(0.5, 0.0, Band(violate_from=0.3, comply_to=0.8)) == "uncertain"


def test_a_band_without_cuts_decides_nothing() -> None:
    assert verdict(0.99, 0.0, Band(-np.inf, np.inf)) == "uncertain"


@pytest.mark.parametrize(("threshold", "expected"), [(0.93, "violate"), (0.9300001, "uncertain")])
def test_the_domains_confidence_is_reached_at_equality_and_not_below(threshold: float, expected: str) -> None:
    assert verdict(0.9, threshold) == expected


@given(st.floats(0, 1), st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_confidence_never_exceeds_what_the_calibration_supports(
    score: float, threshold: float, values: list[float]
) -> None:
    found = reach_consensus(
        Evaluation(score, np.array(values), np.zeros(1)),
        np.ones(len(values)),
        CALIBRATION,
        DomainThresholds(threshold, BAND),
    )
    probability, lower, upper = CALIBRATION.at(score)
    assert found.confidence <= max(reachable_confidence(CALIBRATION))
    assert found.confidence <= max(probability, 1 - probability)
    assert found.confidence in (lower, 1 - upper)
    assert found.agreement_lower_bound <= found.agreement + 1e-12
    assert found.verdict == "uncertain" or found.confidence >= threshold


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=30), st.floats(0.1, 10))
def test_scaling_all_votes_changes_nothing(weights: list[float], factor: float) -> None:
    votes = np.array(weights)
    trees = evaluation(*np.linspace(0, 1, len(votes)), weights=votes)
    once = reach_consensus(trees, votes, CALIBRATION, DomainThresholds(0.5, BAND))
    again = reach_consensus(trees, votes * factor, CALIBRATION, DomainThresholds(0.5, BAND))
    assert once.verdict == again.verdict
    assert once.agreement == pytest.approx(again.agreement)
    assert effective_votes(votes) == pytest.approx(effective_votes(votes * factor))
    assert 1 - 1e-9 <= effective_votes(votes) <= len(votes) + 1e-9
