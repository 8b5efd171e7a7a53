from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.retrieval.router.outputs import FALLS, OUTPUTS, RISES
from acgs.retrieval.router.runtime import Router
from acgs.retrieval.router.tables import LARGEST, SEGMENTS, Student, fit_student, place_knots


def _predict(student: Student, knots: list[np.ndarray], features: np.ndarray) -> np.ndarray:
    names = [f"f{number}" for number in range(len(knots))]
    return np.asarray(Router(names, knots, dict.fromkeys(OUTPUTS, student)).predict(features).tau)


def test_many_values_get_16_segments_between_quantiles() -> None:
    column = np.random.default_rng(1).exponential(1, 10_000)
    knots = place_knots(column)
    assert len(knots) == SEGMENTS + 1
    assert (knots[0], knots[-1]) == (column.min(), column.max())
    counts = np.histogram(column, knots)[0]
    assert counts == pytest.approx(10_000 / 16, rel=0.05)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=200))
def test_few_values_get_a_knot_each(values: list[int]) -> None:
    assert place_knots(np.array(values, dtype=float)).tolist() == sorted(set(values))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_knots_are_observed_values_that_increase(values: list[float]) -> None:
    knots = place_knots(np.array(values))
    assert (np.diff(knots) > 0).all()
    assert set(knots.tolist()) <= set(values)
    assert len(knots) <= SEGMENTS + 1


def test_values_that_differ_by_rounding_share_a_knot() -> None:
    column = np.array([0.0, 1.0, 1.0 + 1e-15, 2.0, 2.0 - 1e-15, 3.0 - 1e-12, 3.0])
    assert place_knots(column) == pytest.approx([0.0, 1.0, 2.0, 3.0])


@given(st.integers(0, 10_000), st.sampled_from([RISES, FALLS]), st.integers(5, 200), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_constrained_tables_never_turn_back_whatever_the_data(seed: int, sign: int, n: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    features = np.round(rng.normal(0, 1, (n, 3)), decimals)
    target = rng.normal(0, 1, n) - sign * features[:, 0]  # the data pull the other way
    knots = [place_knots(column) for column in features.T]
    student = fit_student(features, target, knots, [sign, 0, sign])
    for number in (0, 2):
        steps = np.diff(student.tables[number].astype(int))
        assert (steps * sign >= 0).all()
    assert max(abs(table.astype(int)).max() for table in student.tables) <= LARGEST
    assert student.scale > 0


def test_a_sum_of_bent_lines_is_found_again_to_a_step_of_the_scale() -> None:
    rng = np.random.default_rng(2)
    features = np.stack([rng.uniform(0, 1, 4000), rng.choice([0.0, 1.0, 4.0], 4000)], axis=1)
    target = np.interp(features[:, 0], [0, 0.5, 1], [0, 0.2, 1.0]) + 0.1 * features[:, 1]
    knots = [place_knots(column) for column in features.T]
    student = fit_student(features, target, knots, [RISES, 0])
    assert np.abs(_predict(student, knots, features) - target).max() < 3 * student.scale + 0.01
    assert (student.low, student.high) == (target.min(), target.max())
    assert max(np.abs(table.astype(int)).max() for table in student.tables) == LARGEST


def test_the_constrained_fit_is_the_best_there_is() -> None:
    """Against isotonic regression, which it must equal where every value has a knot."""
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(3)
    column = rng.integers(0, 12, 3000).astype(float)
    target = np.sin(column) + rng.normal(0, 0.1, 3000)
    student = fit_student(column[:, None], target, [place_knots(column)], [RISES])
    expected = IsotonicRegression().fit_transform(column, target)
    found = _predict(student, [place_knots(column)], column[:, None])
    assert found == pytest.approx(expected, abs=student.scale + 0.01)


def test_features_that_do_not_vary_leave_the_mean() -> None:
    target = np.random.default_rng(4).normal(0, 1, 50)
    student = fit_student(np.full((50, 2), 7.0), target, [np.array([7.0])] * 2, [RISES, 0])
    assert student.anchor == pytest.approx(target.mean())
    assert _predict(student, [np.array([7.0])] * 2, np.array([[7.0, 8.0]])) == pytest.approx(target.mean())


def test_a_target_that_does_not_vary_is_predicted_exactly() -> None:
    features = np.random.default_rng(5).normal(0, 1, (60, 1))
    knots = [place_knots(features[:, 0])]
    student = fit_student(features, np.full(60, 0.6), knots, [RISES])
    assert _predict(student, knots, features) == pytest.approx(0.6)
