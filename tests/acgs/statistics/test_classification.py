from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score, roc_curve

from acgs.statistics.classification import FIGURES, Quality, measure

Sample = tuple[NDArray[np.float64], NDArray[np.bool_]]

# Scores on a coarse grid, so that most samples hold ties.
SAMPLES = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=60).map(
    lambda pairs: (np.array([score / 8 for score, _ in pairs]), np.array([label for _, label in pairs]))
)


def value(quality: Quality, name: str) -> float:
    estimate = quality.figures[name]
    assert estimate is not None
    return estimate.value


def separable(n: int, seed: int = 3) -> Sample:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    return rng.normal(labels * 1.2, 1.0), labels


@settings(deadline=None)
@given(SAMPLES, st.integers(-1, 9))
def test_figures_are_those_of_scikit_learn_with_ties_counted_together(sample: Sample, cut: int) -> None:
    scores, labels = sample
    assume(labels.any() and not labels.all())
    threshold = cut / 8
    quality = measure(scores, labels, threshold=threshold, resamples=0)
    assert value(quality, "auprc") == pytest.approx(average_precision_score(labels, scores))
    assert value(quality, "auroc") == pytest.approx(roc_auc_score(labels, scores))
    assert value(quality, "f1") == pytest.approx(f1_score(labels, scores >= threshold, zero_division=0))
    assert value(quality, "accuracy") == pytest.approx(accuracy_score(labels, scores >= threshold))
    false_positive_rate, recall, _ = roc_curve(labels, scores, drop_intermediate=False)
    best = recall[false_positive_rate <= 0.05].max()
    assert value(quality, "recall_at_5_percent_false_positives") == pytest.approx(best)


@settings(deadline=None)
@given(SAMPLES)
def test_the_order_of_the_texts_does_not_matter(sample: Sample) -> None:
    scores, labels = sample
    forwards = measure(scores, labels, threshold=0.5, resamples=0)
    assert forwards == measure(scores[::-1], labels[::-1], threshold=0.5, resamples=0)


@pytest.mark.parametrize("label", [True, False])
def test_one_class_alone_gives_no_ranking_figure(label: bool) -> None:
    quality = measure(np.array([0.1, 0.6, 0.9]), np.full(3, label), threshold=0.5)
    for name in ("auprc", "auroc", "f1", "recall_at_5_percent_false_positives"):
        assert quality.figures[name] is None
    assert value(quality, "accuracy") == pytest.approx(2 / 3 if label else 1 / 3)
    present, absent = ("label_1_over_threshold", "label_0_over_threshold")[:: 1 if label else -1]
    assert value(quality, present) == pytest.approx(2 / 3)
    assert quality.figures[absent] is None


def test_no_texts_give_no_figures() -> None:
    quality = measure(np.empty(0), np.empty(0, dtype=bool), threshold=0.5)
    assert quality.n == 0
    assert quality.figures == dict.fromkeys(FIGURES)


def test_a_score_at_the_threshold_counts_as_a_violation() -> None:
    quality = measure(np.array([0.5, 0.4]), np.array([True, False]), threshold=0.5)
    assert value(quality, "f1") == 1.0


def test_equal_scores_for_all_rank_no_better_than_chance() -> None:
    labels = np.array([True, False, False, False])
    quality = measure(np.full(4, 0.7), labels, threshold=0.5)
    assert value(quality, "auroc") == 0.5
    assert value(quality, "auprc") == 0.25
    assert value(quality, "recall_at_5_percent_false_positives") == 0.0


def test_intervals_hold_the_figure_and_are_the_same_for_the_same_seed() -> None:
    scores, labels = separable(400)
    quality = measure(scores, labels, threshold=0.6, seed=5)
    assert quality == measure(scores, labels, threshold=0.6, seed=5)
    assert quality != measure(scores, labels, threshold=0.6, seed=6)
    for estimate in quality.figures.values():
        assert estimate is not None and estimate.lower is not None and estimate.upper is not None
        assert estimate.lower < estimate.value < estimate.upper


def test_the_interval_of_auroc_has_the_width_that_theory_gives() -> None:
    scores, labels = separable(1500)
    estimate = measure(scores, labels, threshold=0.6).figures["auroc"]
    assert estimate is not None and estimate.lower is not None and estimate.upper is not None
    # Hanley and McNeil 1982.
    area, n1, n0 = estimate.value, int(labels.sum()), int((~labels).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)) / (n1 * n0))
    assert estimate.upper - estimate.lower == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_copies_in_one_group_do_not_narrow_the_interval() -> None:
    scores, labels = separable(200)
    once = measure(scores, labels, threshold=0.6).figures["auroc"]
    copies = measure(np.repeat(scores, 10), np.repeat(labels, 10), threshold=0.6, groups=np.repeat(np.arange(200), 10))
    assert copies.clusters == 200
    assert copies.figures["auroc"] == once


def test_a_single_group_gives_figures_without_an_interval() -> None:
    scores, labels = separable(50)
    estimate = measure(scores, labels, threshold=0.5, groups=np.zeros(50, dtype=np.int64)).figures["auroc"]
    assert estimate is not None
    assert (estimate.lower, estimate.upper) == (None, None)


def test_a_class_that_most_resamples_miss_gives_no_interval() -> None:
    labels = np.arange(40) == 0
    estimate = measure(np.arange(40.0), labels, threshold=20.0).figures["auroc"]
    assert estimate is not None
    assert (estimate.lower, estimate.upper) == (None, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        measure(np.array([0.1, bad]), np.array([True, False]), threshold=0.5)


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        measure(np.zeros(3), np.zeros(2, dtype=bool), threshold=0.5)
