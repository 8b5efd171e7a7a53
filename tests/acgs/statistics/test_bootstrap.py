from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from acgs.errors import InvalidInputError
from acgs.statistics.bootstrap import (
    paired_bca,
    paired_quantile_change,
    paired_t,
    quantile_confidence,
    resampled_quantiles,
)
from acgs.statistics.evidence import InsufficientDataError

REPETITIONS = 2000
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / REPETITIONS)


def _deltas(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Like deltas of nDCG: mostly exact zeros, mean 0.006, skewed."""
    return np.where(rng.random(shape) < 0.7, 0.0, rng.gamma(0.25, 0.4, shape) - 0.08)


MEAN = 0.3 * (0.25 * 0.4 - 0.08)


def test_the_t_bounds_are_those_of_scipy() -> None:
    deltas = _deltas(np.random.default_rng(1), 225)
    bounds = paired_t(deltas, confidence=0.95)
    expected = stats.ttest_1samp(deltas, 0.0).confidence_interval(0.90)
    assert (bounds.lower, bounds.upper) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (bounds.pairs, bounds.units) == (225, 225)
    assert bounds.estimate == pytest.approx(deltas.mean())


def test_the_bca_bounds_are_those_of_scipy() -> None:
    """Both resample at random: they agree within the error of 100,000 resamples."""
    deltas = np.random.default_rng(3).lognormal(0, 1.3, 25)
    ours = paired_bca(deltas, resamples=100_000, seed=0)
    scipys = stats.bootstrap(
        (deltas,), np.mean, method="BCa", confidence_level=0.90, n_resamples=100_000, batch=20_000, rng=1
    ).confidence_interval
    standard_error = deltas.std() / 5
    assert ours.lower == pytest.approx(scipys.low, abs=0.03 * standard_error)
    assert ours.upper == pytest.approx(scipys.high, abs=0.06 * standard_error)
    # Skewed data: the bounds are not symmetric, as those of t are.
    assert ours.upper - ours.estimate > 1.5 * (ours.estimate - ours.lower)


def test_t_and_bca_lower_bounds_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2024)
    samples = _deltas(rng, REPETITIONS, 225)
    t = np.mean([paired_t(row).lower <= MEAN for row in samples])
    bca = np.mean([paired_bca(row, resamples=500, seed=n).lower <= MEAN for n, row in enumerate(samples)])
    # At this skewness and n the mean's law is not normal yet: two points more are granted, and no pass by width alone.
    for coverage in (t, bca):
        assert 0.95 - FOUR_ERRORS - 0.02 <= coverage <= 0.95 + FOUR_ERRORS + 0.02


def test_clustered_bounds_hold_where_pairs_repeat_each_other() -> None:
    """Every delta stands five times: without clusters the bounds would be far too narrow."""
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(80), 5)
    own, naive, bca = 0, 0, 0
    for number in range(REPETITIONS):
        deltas = np.repeat(rng.normal(0.0, 1.0, 80), 5)
        own += paired_t(deltas, clusters=clusters).lower <= 0
        bca += paired_bca(deltas, clusters=clusters, resamples=300, seed=number).lower <= 0
        naive += paired_t(deltas).lower <= 0
    assert abs(own / REPETITIONS - 0.95) <= FOUR_ERRORS
    assert abs(bca / REPETITIONS - 0.95) <= FOUR_ERRORS + 0.01
    assert naive / REPETITIONS < 0.85


def test_clusters_of_one_change_nothing() -> None:
    deltas = _deltas(np.random.default_rng(5), 60)
    alone = np.random.default_rng(6).permutation(60)
    with_clusters, without = paired_t(deltas, clusters=alone), paired_t(deltas)
    assert with_clusters.lower == pytest.approx(without.lower, abs=1e-12)
    assert paired_bca(deltas, clusters=np.arange(60)).lower == pytest.approx(paired_bca(deltas).lower, abs=1e-12)


@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_bounds_move_and_stretch_with_the_data(seed: int, shift: float, scale: float) -> None:
    deltas = _deltas(np.random.default_rng(seed), 80)
    for bounds_of in (paired_t, lambda values: paired_bca(values, resamples=200)):
        plain, moved = bounds_of(deltas), bounds_of(deltas * scale + shift)
        tolerance = 1e-7 * (abs(shift) + scale)
        assert moved.lower == pytest.approx(plain.lower * scale + shift, abs=tolerance)
        assert moved.upper == pytest.approx(plain.upper * scale + shift, abs=tolerance)


def test_the_same_seed_gives_the_same_bounds() -> None:
    deltas = _deltas(np.random.default_rng(9), 100)
    assert paired_bca(deltas, seed=4) == paired_bca(deltas, seed=4)
    assert paired_bca(deltas, seed=4) != paired_bca(deltas, seed=5)


def test_the_bounds_of_a_change_of_p95_hold_and_pairing_makes_them_narrow() -> None:
    rng = np.random.default_rng(12)
    held = 0
    for number in range(REPETITIONS):
        baseline = rng.lognormal(4.4, 0.24, 400)
        candidate = baseline + 0.5 + rng.normal(0, 0.1, 400)
        bounds = paired_quantile_change(baseline, candidate, 0.95, resamples=60, seed=number)
        held += bounds.upper >= 0.5
    assert held / REPETITIONS >= 0.95 - FOUR_ERRORS - 0.02
    assert bounds.upper - bounds.lower < 1.0
    unpaired = paired_quantile_change(baseline, rng.permutation(candidate), 0.95, resamples=200)
    assert unpaired.upper - unpaired.lower > 5.0


def test_requests_that_are_timed_again_are_no_new_requests() -> None:
    rng = np.random.default_rng(13)
    baseline = rng.lognormal(4.4, 0.24, 400)
    candidate = baseline + 0.5 + rng.normal(0, 0.1, 400)
    once = paired_quantile_change(baseline, candidate, 0.95, resamples=300)
    requests = np.tile(np.arange(400), 5)
    again = paired_quantile_change(np.tile(baseline, 5), np.tile(candidate, 5), 0.95, clusters=requests, resamples=300)
    assert (again.lower, again.upper) == pytest.approx((once.lower, once.upper), abs=1e-9)
    assert (again.pairs, again.units, once.units) == (2000, 400, 400)
    alone = paired_quantile_change(np.tile(baseline, 5), np.tile(candidate, 5), 0.95, resamples=300)
    assert alone.upper - alone.lower < again.upper - again.lower
    with pytest.raises(InsufficientDataError, match="99 units; bounds of the quantile"):
        paired_quantile_change(baseline, candidate, 0.95, clusters=np.arange(400) % 99)
    with pytest.raises(InvalidInputError, match="same shape"):
        paired_quantile_change(baseline, candidate, 0.95, clusters=np.arange(399))


def test_of_few_requests_of_which_a_few_take_several_times_as_long_bounds_still_hold() -> None:
    rng = np.random.default_rng(15)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        baseline = 5 * np.exp(0.35 * rng.standard_normal(n))
        added = 0.35 * np.exp(0.6 * rng.standard_normal(n))
        return baseline, baseline + added * np.where(rng.random(n) < 0.06, 6, 1)

    true = float(np.subtract(*(np.quantile(side, 0.95) for side in drawn(2_000_000)[::-1])))
    missed = 0
    for number in range(1000):
        sides = [np.tile(side, 4) for side in drawn(100)]
        clusters = np.tile(np.arange(100), 4)
        bounds = paired_quantile_change(*sides, 0.95, clusters=clusters, resamples=200, seed=number)
        missed += bounds.upper < true
    assert missed / 1000 <= 0.08 + FOUR_ERRORS
    assert quantile_confidence(0.95, 0.95, 399) == pytest.approx(0.975)
    assert quantile_confidence(0.95, 0.95, 400) == 0.95


@pytest.mark.parametrize("quantiles", [(0.95,), (0.5, 0.99)])
def test_resampled_quantiles_are_those_of_what_was_drawn(quantiles: tuple[float, ...]) -> None:
    rng = np.random.default_rng(14)
    values, clusters = rng.normal(size=200), rng.integers(0, 40, 200)
    drawn = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=50)
    (found,) = resampled_quantiles((values, -values), quantiles, clusters, 50, 3)
    for counts, mine, other in zip(drawn, found[0], found[1], strict=True):
        for sign, side in ((1, mine), (-1, other)):
            whole = np.repeat(sign * values, counts[clusters])
            assert side == pytest.approx(np.quantile(whole, quantiles, method="inverted_cdf"))


def test_too_few_or_unvarying_deltas_give_no_bound() -> None:
    for bounds_of in (paired_t, paired_bca):
        with pytest.raises(InsufficientDataError, match="needs 20"):
            bounds_of(np.arange(19))
        with pytest.raises(InsufficientDataError, match="do not vary"):
            bounds_of(np.zeros(500))
        with pytest.raises(InsufficientDataError, match="2 clusters"):
            bounds_of(np.arange(100.0), clusters=np.arange(100) % 2)
        with pytest.raises(InsufficientDataError, match="do not vary"):
            bounds_of(np.tile([0.1, 0.3], 30), clusters=np.repeat(np.arange(30), 2))
    with pytest.raises(InsufficientDataError, match="needs 400"):
        paired_quantile_change(np.arange(399), np.arange(399), 0.95)


def test_values_that_are_no_numbers_and_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        paired_bca([0.1] * 30 + [float("nan")])
    with pytest.raises(InvalidInputError, match="same shape"):
        paired_t(np.arange(30.0), clusters=np.arange(29))
    with pytest.raises(InvalidInputError, match="same requests"):
        paired_quantile_change(np.arange(500), np.arange(501), 0.95)
    with pytest.raises(InvalidInputError, match="one list"):
        paired_t(np.zeros((30, 2)))
    with pytest.raises(InvalidInputError, match="confidence"):
        paired_t(np.arange(30.0), confidence=95.0)
