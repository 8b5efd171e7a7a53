from __future__ import annotations

import numpy as np
import pytest

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError
from acgs.statistics.sequences import normal_mixture_margin, quantile_bounds, quantile_log_wealth

STREAMS = 2000
ENOUGH = np.log(1 / 0.05)
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / STREAMS)


def test_the_normal_margin_is_that_of_confseq_or_a_little_wider() -> None:
    """confseq 0.0.11, uniform_boundaries.h: normal_mixture_bound(v, 0.05, 1000, 0.05, true), solved numerically."""
    counts = np.array([50, 200, 1000, 5000, 100_000])
    exact = np.array([31.9482977705, 44.1425903518, 87.4708415997, 204.3416821489, 1052.3970142650])
    ratio = normal_mixture_margin(counts, 1.0, tuned_for=1000) * counts / exact
    assert (ratio >= 1).all()
    assert (ratio <= 1.015).all()


def test_over_a_day_of_minutes_a_null_stream_seldom_alarms_and_a_shift_is_found_within_15_minutes() -> None:
    """100 pairs a minute, 1,440 looks; a loss of 0.1 standard deviations from the first minute on."""
    rng = np.random.default_rng(4)
    pairs = 100 * np.arange(1, 1441)
    mean = np.cumsum(rng.normal(0, 10, (STREAMS, 1440)), axis=1) / pairs
    upper = mean + normal_mixture_margin(pairs, 1.0, tuned_for=1500)
    assert (upper < 0).any(axis=1).mean() <= 0.05 + FOUR_ERRORS
    alarm = upper - 0.1 < 0
    assert alarm.any(axis=1).all()
    assert np.median(alarm.argmax(axis=1) + 1) <= 15


def test_a_margin_needs_data_and_a_scale() -> None:
    with pytest.raises(InsufficientDataError):
        normal_mixture_margin(0, 1.0, tuned_for=100)
    with pytest.raises(InsufficientDataError):
        normal_mixture_margin([], 1.0, tuned_for=100)
    for deviation in (-1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="deviation"):
            normal_mixture_margin(10, deviation, tuned_for=100)
    with pytest.raises(InvalidInputError, match="tuned_for"):
        normal_mixture_margin(10, 1.0, tuned_for=0)
    with pytest.raises(InvalidInputError, match="below 1/2"):
        normal_mixture_margin(10, 1.0, alpha=0.5, tuned_for=10)


@pytest.mark.parametrize(("quantile", "n"), [(0.95, 1500), (0.5, 400)])
def test_a_true_quantile_is_rejected_at_any_look_with_at_most_alpha(quantile: float, n: int) -> None:
    """Uniform values without loss of generality: only the counts at or below the quantile enter."""
    looks = np.arange(1, n + 1)
    below = np.cumsum(np.random.default_rng(5).random((STREAMS, n)) <= quantile, axis=1)
    for counts, share in ((below, quantile), (looks - below, 1 - quantile)):
        wealth = quantile_log_wealth(counts, looks, share, tuned_for=500)
        assert (wealth.max(axis=1) >= ENOUGH).mean() <= 0.05 + FOUR_ERRORS


@pytest.mark.parametrize(
    ("n", "lower", "upper"), [(500, 14.844, 12.513), (1000, 20.207, 17.818), (5000, 45.716, 43.343)]
)
def test_the_quantile_ranks_are_those_of_confseq(n: int, lower: float, upper: float) -> None:
    """confseq 0.0.11: beta_binomial_mixture_bound(v, 0.05, 47.5, g, h, 0.05, true), v = 0.0475 n, the deviation in
    counts that is no longer compatible with p = 0.95: (g, h) = (0.05, 0.95) for the lower, swapped for the upper."""
    low, high = quantile_bounds(np.arange(1, n + 1), 0.95, tuned_for=1000)
    assert low == pytest.approx(0.95 * n - lower, abs=1.0)
    assert high == pytest.approx(0.95 * n + upper + 1, abs=1.0)


def test_the_quantile_bounds_hold_at_every_look_with_ties_too() -> None:
    rng = np.random.default_rng(6)
    for law in (lambda: rng.lognormal(0, 1, 300), lambda: rng.integers(0, 4, 300).astype(float)):
        median = 1.0
        missed = 0
        for _ in range(STREAMS):
            values = law()
            looks = [quantile_bounds(values[:n], 0.5, tuned_for=150) for n in (20, 60, 150, 300)]
            missed += any(not low <= median <= high for low, high in looks)
        # Two bounds that err with 0.05 each.
        assert missed / STREAMS <= 0.1 + FOUR_ERRORS


def test_a_quantile_with_too_few_values_is_open_on_that_side() -> None:
    low, high = quantile_bounds(np.arange(100.0), 0.95, tuned_for=1000)
    assert 80 < low < 95
    assert high == np.inf
    assert quantile_bounds([3.0], 0.5, tuned_for=100) == (-np.inf, np.inf)
    with pytest.raises(InsufficientDataError):
        quantile_bounds([], 0.5, tuned_for=100)
    with pytest.raises(InvalidInputError, match="between 0 and count"):
        quantile_log_wealth(5, 4, 0.5, tuned_for=100)
