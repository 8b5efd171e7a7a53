from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.statistics.bounds import wilson_interval
from acgs.statistics.calibration import isotonic_steps, platt


def _sample(seed: int, n: int, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.random(n).round(rng.integers(1, 8))
    return scores, rng.random(n) < np.clip(scores + noise * (rng.random(n) - 0.5), 0, 1)


@given(seed=st.integers(0, 10_000), n=st.integers(50, 600), min_count=st.integers(10, 50))
@settings(max_examples=60, deadline=None)
def test_probability_never_falls_as_the_score_rises_and_lies_between_its_bounds(
    seed: int, n: int, min_count: int
) -> None:
    scores, labels = _sample(seed, n)
    steps = isotonic_steps(scores, labels, min_count=min_count)
    assert (np.diff(steps.probability) >= 0).all()
    assert (np.diff(steps.edges) > 0).all()
    assert (steps.lower <= steps.probability + 1e-12).all()
    assert (steps.probability <= steps.upper + 1e-12).all()


@given(seed=st.integers(0, 10_000), n=st.integers(50, 600), min_count=st.integers(10, 50))
@settings(max_examples=60, deadline=None)
def test_every_step_rests_on_enough_scenarios_and_says_their_share(seed: int, n: int, min_count: int) -> None:
    scores, labels = _sample(seed, n)
    steps = isotonic_steps(scores, labels, min_count=min_count)
    of = np.clip(np.searchsorted(steps.edges, scores, side="right") - 1, 0, None)
    for number in range(len(steps.edges)):
        inside = labels[of == number]
        assert len(inside) >= min_count
        assert steps.probability[number] == pytest.approx(inside.mean())
        bounds = wilson_interval(int(inside.sum()), len(inside))
        assert (steps.lower[number], steps.upper[number]) == pytest.approx(bounds)


def test_scores_beyond_the_ends_get_the_end_steps() -> None:
    scores, labels = _sample(3, 500)
    steps = isotonic_steps(scores, labels)
    assert steps.at(-5.0)[0] == steps.probability[0]
    assert steps.at(5.0)[0] == steps.probability[-1]
    assert steps.at(float(steps.edges[1]))[0] == steps.probability[1]


def test_the_order_of_the_data_does_not_matter() -> None:
    scores, labels = _sample(5, 400)
    mixed = np.random.default_rng(0).permutation(400)
    one, other = isotonic_steps(scores, labels), isotonic_steps(scores[mixed], labels[mixed])
    assert one.edges.tolist() == other.edges.tolist()
    assert one.probability.tolist() == other.probability.tolist()


def test_a_score_that_tells_nothing_gives_one_step() -> None:
    labels = np.arange(200) % 4 == 0
    steps = isotonic_steps(np.full(200, 0.5), labels)
    assert steps.probability.tolist() == [0.25]


def test_on_calibrated_scores_the_steps_follow_the_diagonal() -> None:
    rng = np.random.default_rng(11)
    scores = rng.random(20_000)
    steps = isotonic_steps(scores, rng.random(20_000) < scores, min_count=200)
    for score in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert steps.at(score)[0] == pytest.approx(score, abs=0.06)


@pytest.mark.parametrize("scores", [np.zeros(49), np.array([0.1] * 60 + [np.nan]), np.array([0.1] * 60 + [np.inf])])
def test_too_few_scores_or_ones_that_are_no_numbers_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 50 finite"):
        isotonic_steps(scores, np.ones(len(scores), dtype=bool))


def test_platt_finds_the_slope_and_intercept_that_made_the_labels() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 40_000)
    labels = rng.random(40_000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))
    assert platt(logits, labels) == pytest.approx((0.5, -1.0), abs=0.05)


def test_platt_heeds_weights() -> None:
    logits = np.array([0.0, 0.0])
    labels = np.array([True, False])
    _, intercept = platt(logits, labels, weights=np.array([9.0, 1.0]))
    assert intercept == pytest.approx(np.log(9), abs=0.01)


@pytest.mark.parametrize("label", [True, False])
def test_a_head_without_both_labels_keeps_its_scores(label: bool) -> None:
    assert platt(np.array([1.0, 2.0]), np.array([label, label])) == (1.0, 0.0)
