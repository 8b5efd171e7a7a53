from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from acgs.statistics.bounds import Z_95, wilson_interval, wilson_lower


@pytest.mark.parametrize(
    ("successes", "n", "lower", "upper"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (score, no continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_published_intervals_are_met(successes: int, n: int, lower: float, upper: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((lower, upper), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_is_the_interval_that_scipy_computes(case: tuple[int, int]) -> None:
    successes, n = case
    expected = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.floats(0.5, 1e6), st.floats(0, 1))
def test_the_bounds_hold_the_share_and_stay_within_0_and_1(n: float, share: float) -> None:
    successes = min(n, share * n)
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


@given(st.integers(1, 1000), st.integers(2, 50))
def test_more_of_the_same_evidence_narrows_the_interval(n: int, times: int) -> None:
    few, many = wilson_interval(n // 2, n), wilson_interval(n // 2 * times, n * times)
    assert many[1] - many[0] < few[1] - few[0]


def test_without_data_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_lower(0, 0) == 0.0


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0), (float("nan"), 5)])
def test_impossible_counts_are_refused(successes: float, n: float) -> None:
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson_interval(successes, n)


def test_the_quantile_is_the_two_sided_one() -> None:
    from scipy.stats import norm

    assert norm.ppf(0.975) == pytest.approx(Z_95, abs=1e-12)
