from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from acgs.errors import InvalidInputError
from acgs.statistics.bounds import (
    Z_95,
    clustered_share,
    disagreement_lower,
    empirical_bernstein_lower,
    proportion_upper,
    wilson_interval,
    wilson_lower,
)
from acgs.statistics.evidence import InsufficientDataError


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


@given(st.integers(1, 5000), st.floats(0.1, 5))
def test_none_at_all_reaches_down_to_0_and_all_of_them_up_to_1_exactly(n: int, z: float) -> None:
    assert wilson_interval(0, n, z)[0] == 0.0
    assert wilson_interval(n, n, z)[1] == 1.0


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_exact_upper_bound_is_the_one_that_scipy_computes(case: tuple[int, int]) -> None:
    expected = binomtest(*case, alternative="less").proportion_ci(confidence_level=0.95, method="exact")
    assert proportion_upper(*case) == pytest.approx(expected.high, abs=1e-9)


def test_no_disagreement_among_n_pairs_bounds_the_loss_by_about_3_in_n() -> None:
    """The rule of three (Hanley and Lippman-Hand 1983); the exact value is 1 - 0.05^(1/n)."""
    assert disagreement_lower(np.zeros(300)) == pytest.approx(-(1 - 0.05 ** (1 / 300)))
    assert disagreement_lower(np.zeros(300), span=0.5) == pytest.approx(-0.5 * (1 - 0.05 ** (1 / 300)))


def test_the_disagreement_bound_holds_where_every_difference_is_a_full_loss() -> None:
    """The worst case: the mean is minus the share of pairs that differ."""
    rng = np.random.default_rng(4)
    differing = rng.binomial(200, 0.03, size=2000)
    bound = {int(m): disagreement_lower(-(np.arange(200) < m).astype(float)) for m in np.unique(differing)}
    assert np.mean([bound[int(m)] <= -0.03 for m in differing]) >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_the_empirical_bernstein_bound_is_the_published_formula_and_holds() -> None:
    values, odds = np.array([0.25, 0.75] * 200), np.log(2 / 0.05)
    variance = 0.25**2 * 400 / 399
    expected = 0.5 - np.sqrt(2 * variance * odds / 400) - 7 * 2 * odds / (3 * 399)
    assert empirical_bernstein_lower(values, -1, 1) == pytest.approx(expected)
    assert empirical_bernstein_lower(values[:4], 0, 1) == 0.0
    samples = np.random.default_rng(8).beta(0.2, 1.8, size=(2000, 200))
    assert np.mean([empirical_bernstein_lower(row, 0, 1) <= 0.1 for row in samples]) >= 0.95


def test_bounds_without_data_or_outside_their_range_are_refused() -> None:
    with pytest.raises(InsufficientDataError):
        proportion_upper(0, 0)
    with pytest.raises(InsufficientDataError):
        disagreement_lower([])
    with pytest.raises(InsufficientDataError):
        empirical_bernstein_lower([0.5], 0, 1)
    with pytest.raises(InvalidInputError, match="outside"):
        disagreement_lower([0.0, -1.5])
    with pytest.raises(InvalidInputError, match="outside"):
        empirical_bernstein_lower([0.5, 1.5], 0, 1)
    with pytest.raises(InvalidInputError, match="finite"):
        disagreement_lower([0.0, float("nan")])
    with pytest.raises(InvalidInputError, match="between 0 and n"):
        proportion_upper(4, 3)


def test_a_share_of_rows_in_clusters_is_bounded_by_clusters_whatever_their_sizes() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(200):
        sizes = rng.integers(1, 9, 40)
        good = np.repeat(rng.random(40) < 0.8, sizes)
        lower, upper = clustered_share(good, np.repeat(np.arange(40), sizes), confidence=0.95)
        assert 0 <= lower <= good.mean() <= upper <= 1
        missed += lower > 0.8
    assert missed <= 10
    alone = rng.random(60) < 0.8
    lower, upper = clustered_share(alone, np.arange(60))
    assert upper == proportion_upper(int(alone.sum()), 60)
    assert lower == pytest.approx(1 - proportion_upper(60 - int(alone.sum()), 60))
