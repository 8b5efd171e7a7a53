from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.statistics.conformal import Band, conformal_band

REPETITIONS = 4000


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
@pytest.mark.parametrize(("positives", "negatives"), [(39, 120), (200, 57)])
def test_each_class_keeps_its_true_label_as_often_as_promised(alpha: float, positives: int, negatives: int) -> None:
    """Coverage over repeated calibration sets, within four standard errors of the simulation."""
    rng = np.random.default_rng(20_240_101)
    labels = np.arange(positives + negatives) < positives
    kept = {True: 0, False: 0}
    for _ in range(REPETITIONS):
        scores = rng.normal(labels * 1.0, 1.0)
        band = conformal_band(scores, labels, alpha)
        kept[True] += rng.normal(1.0, 1.0) >= band.violate_from
        kept[False] += rng.normal(0.0, 1.0) <= band.comply_to
    error = np.sqrt(alpha * (1 - alpha) / REPETITIONS)
    for label, size in ((True, positives), (False, negatives)):
        coverage = kept[label] / REPETITIONS
        assert coverage >= 1 - alpha - 4 * error
        # Not by keeping everything: the promise is met with at most one scenario's weight to spare.
        assert coverage <= 1 - alpha + 1 / (size + 1) + 4 * error


@given(
    positives=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    negatives=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    alpha=st.floats(0.01, 0.5),
)
@settings(deadline=None)
def test_the_cuts_leave_at_most_alpha_of_each_class_out(
    positives: list[float], negatives: list[float], alpha: float
) -> None:
    scores = np.array(positives + negatives)
    labels = np.arange(len(scores)) < len(positives)
    band = conformal_band(scores, labels, alpha)
    assert (scores[labels] < band.violate_from).sum() <= alpha * (len(positives) + 1)
    assert (scores[~labels] > band.comply_to).sum() <= alpha * (len(negatives) + 1)


@pytest.mark.parametrize(("count", "decided"), [(18, False), (19, True)])
def test_a_class_with_too_few_scenarios_is_never_ruled_out(count: int, decided: bool) -> None:
    """With alpha 0.05 a cut needs 19 scenarios; one fewer and nothing may be excluded."""
    scores = np.linspace(0, 1, 2 * count)
    labels = np.arange(2 * count) >= count
    band = conformal_band(scores, labels, 0.05)
    assert bool(np.isfinite(band.violate_from)) is decided
    assert bool(np.isfinite(band.comply_to)) is decided
    if not decided:
        assert {band.decide(score) for score in (-1.0, 0.5, 2.0)} == {"uncertain"}


def test_separated_classes_are_decided_and_the_gap_is_not() -> None:
    scores = np.concatenate([np.linspace(0, 0.2, 100), np.linspace(0.8, 1, 100)])
    band = conformal_band(scores, np.arange(200) >= 100, 0.05)
    assert (band.decide(0.1), band.decide(0.5), band.decide(0.9)) == ("comply", "uncertain", "violate")


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.39, "comply"), (0.4, "uncertain"), (0.5, "uncertain"), (0.6, "uncertain"), (0.61, "violate")],
)
def test_where_both_labels_are_possible_nothing_is_decided(score: float, verdict: str) -> None:
    assert Band(violate_from=0.4, comply_to=0.6).decide(score) == verdict


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.1, float("nan")])
def test_alpha_lies_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        conformal_band(np.array([0.1, 0.9]), np.array([False, True]), alpha)
