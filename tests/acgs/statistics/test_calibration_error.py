from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.statistics.calibration_error import adaptive_calibration_error, calibration_drift, labels_for_limit
from acgs.statistics.evidence import InsufficientDataError, Verdict

REPETITIONS = 2000
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / REPETITIONS)


def _forecasts(rng: np.random.Generator, n: int, bend: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities from Beta(2, 3) and labels whose true probability is 0.4 + (1 + bend) (p - 0.4)."""
    stated = rng.beta(2, 3, n)
    return stated, rng.random(n) < np.clip(0.4 + (1 + bend) * (stated - 0.4), 0, 1)


def _true_error(bend: float) -> float:
    """Mean over 15 bins of equal mass of the absolute mean gap."""
    stated = np.sort(np.random.default_rng(0).beta(2, 3, 300_000))
    gap = np.clip(0.4 + (1 + bend) * (stated - 0.4), 0, 1) - stated
    return float(np.abs(gap.reshape(15, -1).mean(axis=1)).mean())


def test_the_error_is_the_mean_absolute_gap_over_bins_of_equal_mass() -> None:
    stated = np.repeat([0.1, 0.4, 0.8], 20)
    happened = np.concatenate([np.arange(20) < k for k in (4, 8, 10)])
    error = adaptive_calibration_error(stated, happened, bins=3)
    assert error.bins == 3
    assert error.plain == pytest.approx((0.1 + 0.0 + 0.3) / 3)
    noise = [np.var(happened[20 * b : 20 * b + 20], ddof=1) / 20 for b in range(3)]
    assert error.squared == pytest.approx((0.1**2 + 0.3**2 - sum(noise)) / 3)
    assert error.floor == pytest.approx(np.sqrt(2 / np.pi) * np.mean(np.sqrt(np.array([0.09, 0.24, 0.16]) / 20)))


@pytest.mark.parametrize(("n", "measured"), [(225, 0.090), (500, 0.062), (2000, 0.031), (5000, 0.019), (20_000, 0.010)])
def test_a_perfect_predictor_shows_the_noise_floor(n: int, measured: float) -> None:
    """Reference figures for Beta(2, 3) and 15 bins; mean over repeated draws."""
    rng = np.random.default_rng(n)
    errors = [adaptive_calibration_error(*_forecasts(rng, n)) for _ in range(60)]
    assert np.mean([error.plain for error in errors]) == pytest.approx(measured, rel=0.07)
    assert np.mean([error.floor for error in errors]) == pytest.approx(measured, rel=0.07)
    assert np.mean([error.debiased for error in errors]) < 0.7 * measured


@pytest.mark.parametrize("bend", [0.0, 0.15, -0.4])
def test_the_debiased_squared_error_is_right_on_average_and_the_plain_one_is_not(bend: float) -> None:
    rng = np.random.default_rng(3)
    errors = [adaptive_calibration_error(*_forecasts(rng, 300, bend)) for _ in range(REPETITIONS)]
    stated = np.sort(np.random.default_rng(0).beta(2, 3, 300_000))
    truth = float(((bend * (stated - 0.4)).reshape(15, -1).mean(axis=1) ** 2).mean())
    squared = np.array([error.squared for error in errors])
    assert squared.mean() == pytest.approx(truth, abs=4 * squared.std() / np.sqrt(REPETITIONS) + 1e-4)
    assert np.mean([error.plain for error in errors]) > _true_error(bend) + 0.01


@pytest.mark.parametrize(("n", "bend"), [(400, 0.0), (400, 0.3), (2000, -0.25), (2000, 0.5)])
def test_the_bounds_of_the_error_hold_as_often_as_they_say(n: int, bend: float) -> None:
    rng = np.random.default_rng(11)
    truth = _true_error(bend)
    errors = [adaptive_calibration_error(*_forecasts(rng, n, bend)) for _ in range(REPETITIONS)]
    assert np.mean([error.upper >= truth for error in errors]) >= 0.95 - FOUR_ERRORS
    assert np.mean([error.lower <= truth for error in errors]) >= 0.95 - FOUR_ERRORS
    # Bounds of some use: the upper one stays within the floor and two standard errors or so of the truth.
    assert np.mean([error.upper for error in errors]) < truth + 2 * errors[0].floor


@pytest.mark.parametrize(("factor", "n"), [(1.0, 300), (1.8, 300), (0.3, 300), (1.8, 2000)])
def test_the_bounds_hold_for_rare_events_too(factor: float, n: int) -> None:
    """Probabilities from Beta(0.3, 10), most bins without a single event."""
    rng = np.random.default_rng(13)
    stated = np.sort(rng.beta(0.3, 10, 300_000))
    truth = np.abs(((factor - 1) * stated).reshape(15, -1).mean(axis=1)).mean()
    errors = []
    for _ in range(REPETITIONS):
        stated = rng.beta(0.3, 10, n)
        errors.append(adaptive_calibration_error(stated, rng.random(n) < factor * stated))
    assert np.mean([error.upper >= truth for error in errors]) >= 0.95 - FOUR_ERRORS
    assert np.mean([error.lower <= truth for error in errors]) >= 0.95 - FOUR_ERRORS


def test_labels_that_are_all_alike_do_not_pass_for_certainty() -> None:
    error = adaptive_calibration_error(np.full(50, 0.95), np.ones(50, dtype=bool), bins=1)
    assert error.plain == pytest.approx(0.05)
    assert error.upper == pytest.approx(0.05 + 1.6449 * np.sqrt(0.95 * 0.05 / 50), abs=1e-4)
    assert error.judge(0.06) == Verdict.INSUFFICIENT


def test_bins_that_ties_leave_too_thin_join_their_neighbours() -> None:
    """0.2 stands 3 times and 0.9 5 times: neither is enough for a bin of its own."""
    stated = np.repeat([0.1, 0.2, 0.5, 0.9], [40, 3, 52, 5])
    error = adaptive_calibration_error(stated, stated > 0.3, bins=10)
    assert error.bins == 2
    assert error.plain == pytest.approx((40 * 0.1 + (3 * -0.2 + 52 * 0.5 + 5 * 0.1)) / 100)


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.0, 0.4), (0.3, -0.3)])
def test_the_bounds_of_a_drift_hold_and_a_turned_bias_counts_as_drift(before: float, after: float) -> None:
    rng = np.random.default_rng(12)
    truth = _true_error(after - before)
    drifts = [
        calibration_drift(_forecasts(rng, 1000, before), _forecasts(rng, 1000, after)) for _ in range(REPETITIONS)
    ]
    assert np.mean([drift.upper >= truth for drift in drifts]) >= 0.95 - FOUR_ERRORS
    assert np.mean([drift.lower <= truth for drift in drifts]) >= 0.95 - FOUR_ERRORS
    if before != after:
        assert np.mean([drift.debiased for drift in drifts]) == pytest.approx(truth, rel=0.2)


def test_a_limit_below_the_noise_floor_cannot_be_checked() -> None:
    rng = np.random.default_rng(1)
    assert adaptive_calibration_error(*_forecasts(rng, 5000)).judge(0.01) == Verdict.INSUFFICIENT
    assert adaptive_calibration_error(*_forecasts(rng, 5000, -0.9)).judge(0.01) == Verdict.INSUFFICIENT


def test_with_enough_labels_the_limit_is_passed_failed_or_left_open() -> None:
    rng = np.random.default_rng(2)
    n = 2 * labels_for_limit(0.01, variance=0.2)
    assert adaptive_calibration_error(*_forecasts(rng, n)).judge(0.01) == Verdict.PASS
    assert adaptive_calibration_error(*_forecasts(rng, n, -0.4)).judge(0.01) == Verdict.FAIL
    assert adaptive_calibration_error(*_forecasts(rng, n, 0.065)).judge(0.01) == Verdict.INSUFFICIENT
    assert calibration_drift(_forecasts(rng, n), _forecasts(rng, n, -0.4)).judge(0.05) == Verdict.FAIL
    assert calibration_drift(_forecasts(rng, n), _forecasts(rng, n)).judge(0.05) == Verdict.PASS


def test_the_labels_that_a_limit_needs_make_a_perfect_predictor_pass_about_half_the_time() -> None:
    rng = np.random.default_rng(6)
    n = labels_for_limit(0.05, variance=0.2)
    passed = [adaptive_calibration_error(*_forecasts(rng, n)).judge(0.05) == Verdict.PASS for _ in range(400)]
    assert 0.3 < np.mean(passed) < 0.8


@given(st.integers(0, 500), st.integers(1, 8), st.integers(2, 30))
@settings(deadline=None, max_examples=60)
def test_the_order_does_not_matter_and_equal_probabilities_are_never_parted(seed: int, levels: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    stated = rng.choice(np.linspace(0.1, 0.9, levels), 400)
    happened = rng.random(400) < stated
    mixed = rng.permutation(400)
    error = adaptive_calibration_error(stated, happened, bins=bins)
    other = adaptive_calibration_error(stated[mixed], happened[mixed], bins=bins)
    assert other.plain == pytest.approx(error.plain, abs=1e-12)
    assert error.bins <= levels
    assert 0 <= error.lower <= error.plain <= error.upper <= 1


def test_too_few_labels_or_impossible_probabilities_give_no_error() -> None:
    half = np.full(149, 0.5)
    with pytest.raises(InsufficientDataError, match="need 150"):
        adaptive_calibration_error(half, half > 0)
    with pytest.raises(InvalidInputError, match="outside"):
        adaptive_calibration_error(np.full(200, 1.2), np.ones(200, dtype=bool))
    with pytest.raises(InvalidInputError, match="same shape"):
        adaptive_calibration_error(np.full(200, 0.5), np.ones(199, dtype=bool))
    with pytest.raises(InvalidInputError, match="at least 1 bin"):
        adaptive_calibration_error(half, half > 0, bins=0)
    low, high = np.linspace(0, 0.1, 500), np.linspace(0.9, 1, 500)
    with pytest.raises(InsufficientDataError, match="bin of the reference"):
        calibration_drift((low, low > 0.5), (high, high > 0.5))
    with pytest.raises(InvalidInputError, match="limit"):
        labels_for_limit(0.0)
    with pytest.raises(InvalidInputError, match="variance"):
        labels_for_limit(0.05, variance=0.3)
