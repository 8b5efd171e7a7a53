from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError
from acgs.statistics.weights import (
    diagnose_weights,
    effective_sample_size,
    hill_index,
    pareto_k,
    unsupported_mass,
    usable_pareto_k,
)


def _pareto(k: float, n: int) -> np.ndarray:
    """The quantiles of a generalised Pareto law of shape k."""
    return ((1 - (np.arange(n) + 0.5) / n) ** -k - 1) / k


@pytest.mark.parametrize(
    ("k", "n", "expected"),
    [
        # arviz 0.23.4: psislw(log(w))[1] on the same weights.
        (-0.2, 100, 0.08497660862899839),
        (0.2, 1000, 0.2367877358575032),
        (0.5, 100, 0.49196002019884805),
        (0.5, 5000, 0.4987714266241741),
        (0.9, 1000, 0.8442664334030688),
        (1.5, 5000, 1.4359122219593303),
    ],
)
def test_the_tail_index_is_that_of_arviz(k: float, n: int, expected: float) -> None:
    assert pareto_k(_pareto(k, n)) == pytest.approx(expected, abs=1e-10)


def test_the_tail_index_of_bounded_weights_is_that_of_arviz() -> None:
    assert pareto_k(np.exp(2 * np.sin(np.arange(400) * 1.7))) == pytest.approx(-1.4455927795926367, abs=1e-10)


def test_the_tail_index_finds_the_shape_that_made_the_weights() -> None:
    """Over 2,000 samples: the mean within 0.05, and an infinite variance is told from a finite one."""
    rng = np.random.default_rng(1)
    for shape in (0.2, 0.8):
        found = np.array([pareto_k(rng.pareto(1 / shape, 1000)) for _ in range(2000)])
        assert found.mean() == pytest.approx(shape, abs=0.06)
        assert ((found < 0.5) == (shape < 0.5)).mean() > 0.9


def test_weights_that_are_all_alike_are_bounded_and_worth_every_sample() -> None:
    found = diagnose_weights(np.full(400, 0.5))
    assert (found.pareto_k, found.effective, found.effective_share) == (-np.inf, 400.0, 1.0)
    assert found.largest_share == pytest.approx(1 / 400)


def test_a_few_weights_that_decide_all_are_no_tail_to_fit() -> None:
    weights = np.ones(400)
    weights[:3] = 1000.0
    found = diagnose_weights(weights)
    assert found.pareto_k == np.inf
    assert found.effective == pytest.approx(3397**2 / (3e6 + 397))
    assert found.largest_share == pytest.approx(1000 / 3397)


def test_the_tail_index_does_not_depend_on_the_scale_or_the_order() -> None:
    weights = np.random.default_rng(3).lognormal(0, 1.5, 500)
    for same in (weights * 1e6, weights * 1e-6, weights[::-1]):
        assert pareto_k(same) == pytest.approx(pareto_k(weights), abs=1e-9)


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(1e-3, 1e3)), st.floats(1e-200, 1e200))
def test_the_effective_size_lies_between_1_and_n_and_knows_no_scale(weights: np.ndarray, scale: float) -> None:
    effective = effective_sample_size(weights)
    assert 1 - 1e-9 <= effective <= len(weights) * (1 + 1e-9)
    assert effective_sample_size(weights * scale) == pytest.approx(effective)
    assert effective / len(weights) == pytest.approx(1 / (1 + (weights.std() / weights.mean()) ** 2))


def test_hills_index_is_the_mean_log_excess() -> None:
    weights = np.concatenate([np.ones(90), np.full(10, np.e**0.7)])
    assert hill_index(weights) == pytest.approx(0.7)
    pareto = (1 - (np.arange(100_000) + 0.5) / 100_000) ** -0.4
    assert hill_index(pareto) == pytest.approx(0.4, abs=0.005)


@pytest.mark.parametrize(("n", "expected"), [(100, 0.5), (1000, 2 / 3), (2200, 0.7), (10**6, 0.7)])
def test_the_usable_tail_index_grows_with_n_up_to_seven_tenths(n: int, expected: float) -> None:
    assert usable_pareto_k(n) == pytest.approx(expected, abs=1e-3)


def test_mass_on_actions_never_logged_is_seen_though_the_weights_look_good() -> None:
    logged = np.tile([0.5, 0.5, 0.0], (100, 1))
    target = np.tile([0.4, 0.4, 0.2], (100, 1))
    assert unsupported_mass(target, logged) == pytest.approx(0.2)
    assert unsupported_mass(logged, target) == 0.0
    assert diagnose_weights(np.full(100, 0.8)).effective_share == 1.0


@pytest.mark.parametrize("bad", [[1.0, -0.1] * 20, [1.0, np.nan] * 20, [1.0, np.inf] * 20])
def test_weights_that_are_no_ratios_are_refused(bad: list[float]) -> None:
    for function in (effective_sample_size, pareto_k, hill_index, diagnose_weights):
        with pytest.raises(InvalidInputError):
            function(bad)


def test_too_few_weights_or_only_zeros_say_nothing() -> None:
    for function in (pareto_k, diagnose_weights):
        with pytest.raises(InsufficientDataError, match="needs 25"):
            function(np.ones(24))
    for function in (effective_sample_size, pareto_k, hill_index):
        with pytest.raises(InsufficientDataError, match="every weight is 0"):
            function(np.zeros(100))
    with pytest.raises(InsufficientDataError):
        effective_sample_size([])
    with pytest.raises(InsufficientDataError):
        hill_index(np.ones(49))
    with pytest.raises(InsufficientDataError):
        hill_index(np.concatenate([np.zeros(95), np.ones(5)]), tail=0.05)
    with pytest.raises(InsufficientDataError):
        usable_pareto_k(10)


def test_policies_that_are_no_probabilities_are_refused() -> None:
    fair = np.full((4, 2), 0.5)
    for bad in (np.full((4, 2), 0.6), np.array([[1.5, -0.5]] * 4), np.full((4, 2), np.nan), np.full(4, 1.0)):
        with pytest.raises(InvalidInputError, match="sum to 1"):
            unsupported_mass(fair, bad)
    with pytest.raises(InvalidInputError, match="same shape"):
        unsupported_mass(fair, np.full((3, 2), 0.5))
    with pytest.raises(InsufficientDataError):
        unsupported_mass(np.empty((0, 2)), np.empty((0, 2)))
