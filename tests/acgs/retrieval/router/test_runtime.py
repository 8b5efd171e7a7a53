from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.retrieval.router.outputs import OUTPUTS
from acgs.retrieval.router.runtime import Router
from acgs.retrieval.router.tables import Student


def _router(seed: int = 1, low: float = -1e9, high: float = 1e9) -> Router:
    """Two features with knots, one of two values, one that never varied."""
    rng = np.random.default_rng(seed)
    knots = [np.sort(rng.normal(0, 3, 17)), np.array([0.0, 1.0, 5.0]), np.array([2.0, 3.0]), np.array([4.0])]
    students = {
        name: Student(
            rng.normal(), 0.01, tuple(rng.integers(-127, 128, len(of)).astype(np.int8) for of in knots), low, high
        )
        for name in OUTPUTS
    }
    return Router(("a", "b", "c", "d"), knots, students)


ROUTER = _router()


def _expected(router: Router, row: list[float], output: int) -> float:
    """The definition: anchor + scale * (sum of linearly interpolated entries)."""
    rng = np.random.default_rng(1)
    knots = [np.sort(rng.normal(0, 3, 17)), np.array([0.0, 1.0, 5.0]), np.array([2.0, 3.0]), np.array([4.0])]
    drawn = [(rng.normal(), [rng.integers(-127, 128, len(of)) for of in knots]) for _ in OUTPUTS]
    anchor, tables = drawn[output]
    return float(anchor + 0.01 * sum(np.interp(x, of, table) for x, of, table in zip(row, knots, tables, strict=True)))


numbers = st.floats(-20, 20) | st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])


@given(st.lists(numbers, min_size=4, max_size=4))
def test_a_prediction_is_the_sum_of_the_interpolated_tables(row: list[float]) -> None:
    assert ROUTER.predict_one(row) == pytest.approx([_expected(ROUTER, row, output) for output in range(3)], abs=1e-9)


@given(st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=50))
@settings(deadline=None)
def test_one_by_one_and_all_at_once_agree_to_the_last_digit(rows: list[list[float]]) -> None:
    together = ROUTER.predict(rows)
    assert [tuple(ROUTER.predict_one(row)) for row in rows] == list(zip(*(of.tolist() for of in together), strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", range(4))
def test_a_feature_that_is_no_finite_number_is_refused_even_where_the_tables_are_flat(place: int, value: float) -> None:
    row = [0.0, 1.0, 2.0, 4.0]
    row[place] = value
    with pytest.raises(InvalidInputError, match="not a finite number"):
        ROUTER.predict_one(row)
    with pytest.raises(InvalidInputError, match="not a finite number"):
        ROUTER.predict([[0.0, 1.0, 2.0, 4.0], row])


@pytest.mark.parametrize("end", [21.0, 1e300])
def test_a_feature_beyond_what_was_seen_counts_as_the_nearest_that_was(end: float) -> None:
    assert ROUTER.predict_one([end] * 4) == ROUTER.predict_one([50.0] * 4)
    assert ROUTER.predict_one([-end] * 4) == ROUTER.predict_one([-50.0] * 4)
    assert ROUTER.predict([[end] * 4]).gain == ROUTER.predict_one([50.0] * 4).gain


@given(st.lists(numbers, min_size=4, max_size=4))
def test_predictions_stay_within_what_the_teacher_predicted(row: list[float]) -> None:
    narrow = _router(low=-0.1, high=0.1)
    assert all(-0.1 <= value <= 0.1 for value in narrow.predict_one(row))
    assert [of[0] for of in narrow.predict([row])] == list(narrow.predict_one(row))


@pytest.mark.parametrize("row", [[], [0.0] * 3, [0.0] * 5])
def test_a_query_with_the_wrong_number_of_features_is_told_which_there_are(row: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="a, b, c, d"):
        ROUTER.predict_one(row)
    with pytest.raises(InvalidInputError, match="a, b, c, d"):
        ROUTER.predict([row])


def test_no_queries_get_no_predictions() -> None:
    assert [of.shape for of in ROUTER.predict(np.zeros((0, 4)))] == [(0,)] * 3


def test_serving_loads_neither_lightgbm_nor_scipy() -> None:
    program = (
        "import sys; import acgs.retrieval.router.router_file; "
        "print(sorted({'lightgbm', 'scipy', 'sklearn', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_table_too_steep_for_a_float_is_refused() -> None:
    student = Student(0.0, 0.01, (np.array([-127, 127], dtype=np.int8),), -1.0, 1.0)
    with pytest.raises(InvalidInputError, match="so close"):
        Router(("a",), [np.array([0.0, 5e-324])], dict.fromkeys(OUTPUTS, student))
