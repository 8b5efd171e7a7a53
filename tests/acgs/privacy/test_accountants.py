from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError, UnavailableError
from acgs.privacy.accountants import (
    RENYI_ORDERS,
    AccountantName,
    Segment,
    epsilon,
    epsilons,
    max_steps,
    merge,
    solve_noise_multiplier,
)

SEGMENTS = st.lists(
    st.builds(
        Segment,
        noise_multiplier=st.sampled_from([0.6, 1.0, 2.0, 8.0]),
        sample_rate=st.sampled_from([0.001, 0.02, 1.0]),
        steps=st.integers(0, 300),
    ),
    max_size=5,
)


def test_the_module_loads_without_torch() -> None:
    code = (
        "import sys, acgs.privacy.accountants, acgs.privacy.plan, acgs.privacy.budget, acgs.privacy.sql_ledger;"
        "print([name for name in ('torch', 'opacus', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_mnist_example_of_the_literature_is_met() -> None:
    """N=60000, B=256, sigma 1.1, 60 epochs: the tutorial of TensorFlow Privacy gives 3.0 with the first conversion.

    That conversion (Mironov 2017, arXiv 1702.07476, proposition 3) is looser than the one used here.
    """
    from opacus.accountants.analysis.rdp import compute_rdp

    steps, delta = 14_062, 1e-5
    orders = [float(order) for order in RENYI_ORDERS]
    rdp = compute_rdp(q=256 / 60_000, noise_multiplier=1.1, steps=steps, orders=orders)
    first = min(value + math.log(1 / delta) / (order - 1) for value, order in zip(rdp, orders, strict=True))
    assert first == pytest.approx(3.0, abs=0.06)
    found = epsilons([Segment(1.1, 256 / 60_000, steps)], delta)
    assert found.rdp == pytest.approx(2.60, abs=0.01)
    assert found.prv is not None
    assert found.prv < found.rdp < first


@pytest.mark.parametrize(
    ("population", "batch", "target", "by_rdp", "by_prv"),
    [
        (10_000, 256, 8.0, 0.619, 0.580),
        (10_000, 256, 3.0, 0.903, 0.839),
        (50_000, 1024, 7.6, 0.610, 0.573),
        (1_000, 64, 3.0, 1.124, 1.044),
    ],
)
def test_noise_multipliers_agree_with_those_measured_independently(
    population: int, batch: int, target: float, by_rdp: float, by_prv: float
) -> None:
    rate, steps = batch / population, 3 * population // batch
    assert solve_noise_multiplier(target, 1e-5, rate, steps, "rdp") == pytest.approx(by_rdp, abs=0.0015)
    assert solve_noise_multiplier(target, 1e-5, rate, steps, "prv") == pytest.approx(by_prv, abs=0.0015)


@pytest.mark.parametrize(("share", "steps"), [(0.90, 81), (0.95, 99), (1.00, 119)])
def test_step_limits_agree_with_those_measured_independently(share: float, steps: int) -> None:
    assert max_steps(share * 8.0, 1e-5, 0.62, 0.0256, "rdp") == steps


@pytest.mark.parametrize(("sigma", "steps"), [(1.0, 3), (4.0, 16), (20.0, 1000)])
@pytest.mark.parametrize("delta", [1e-5, 1e-7])
def test_without_sampling_neither_accountant_is_below_the_exact_gaussian(
    sigma: float, steps: int, delta: float
) -> None:
    """Exact: Balle and Wang 2018, arXiv 1805.06530, theorem 8; T Gaussians are one with sigma / sqrt(T)."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    one = sigma / math.sqrt(steps)

    def excess(value: float) -> float:
        tail = math.exp(value) * norm.cdf(-0.5 / one - value * one)
        return float(norm.cdf(0.5 / one - value * one) - tail - delta)

    exact = brentq(excess, 0.0, 100.0)
    found = epsilons([Segment(sigma, 1.0, steps)], delta)
    assert found.prv is not None
    assert exact < found.prv < exact + 0.02
    assert exact < found.rdp < exact * 1.15


def test_splitting_a_run_into_unlike_halves_costs_what_the_run_costs() -> None:
    whole = epsilons([Segment(1.0, 0.01, 1000)], 1e-5)
    halves = epsilons([Segment(1.0, 0.01, 600), Segment(1.0 + 1e-9, 0.01, 400)], 1e-5)
    assert whole.prv is not None
    assert halves.prv == pytest.approx(whole.prv, abs=0.01)
    assert halves.rdp == pytest.approx(whole.rdp, rel=1e-6)


def test_where_rounding_could_exceed_delta_prv_gives_no_figure_and_the_other_bound_stands() -> None:
    history = [Segment(20.0, 1.0, 1000)]
    found = epsilons(history, 1e-12)
    assert found.prv is None
    assert found.larger == found.rdp == epsilon(history, 1e-12)
    with pytest.raises(UnavailableError, match="choose the accountant rdp"):
        epsilon(history, 1e-12, "prv")


def test_a_history_too_long_to_discretise_is_not_guessed() -> None:
    assert epsilons([Segment(0.3, 0.01, 10_000)], 1e-5).prv is None


@given(SEGMENTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_order_of_composition_does_not_matter(segments: list[Segment]) -> None:
    assert merge(segments) == merge(reversed(segments))
    assert epsilon(segments, 1e-5, "rdp") == epsilon(list(reversed(segments)), 1e-5, "rdp")


@given(SEGMENTS, SEGMENTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_more_steps_never_cost_less(segments: list[Segment], more: list[Segment]) -> None:
    assert epsilon([*segments, *more], 1e-5, "rdp") >= epsilon(segments, 1e-5, "rdp")


@pytest.mark.parametrize("accountant", ["rdp", "prv", "larger"])
def test_the_solved_noise_keeps_the_target_and_hardly_less_would_not(accountant: AccountantName) -> None:
    prior = [Segment(1.0, 0.01, 200)]
    sigma = solve_noise_multiplier(4.0, 1e-5, 0.01, 500, accountant, prior=prior)
    assert epsilon([*prior, Segment(sigma, 0.01, 500)], 1e-5, accountant) <= 4.0
    assert epsilon([*prior, Segment(sigma * 0.995, 0.01, 500)], 1e-5, accountant) > 4.0


@pytest.mark.parametrize("accountant", ["rdp", "prv", "larger"])
def test_the_last_step_within_the_target_is_found(accountant: AccountantName) -> None:
    prior = [Segment(1.0, 0.01, 200)]
    steps = max_steps(3.0, 1e-5, 0.9, 0.01, accountant, prior=prior)
    tolerance = steps // 400 if accountant == "prv" else 1
    assert epsilon([*prior, Segment(0.9, 0.01, steps)], 1e-5, accountant) <= 3.0
    assert epsilon([*prior, Segment(0.9, 0.01, steps + tolerance)], 1e-5, accountant) > 3.0


def test_no_step_is_left_when_the_prior_has_spent_the_target() -> None:
    assert max_steps(1.0, 1e-5, 1.0, 0.01, prior=[Segment(1.0, 0.01, 5000)]) == 0


def test_no_noise_helps_when_the_prior_has_spent_the_target() -> None:
    with pytest.raises(InvalidInputError) as refused:
        solve_noise_multiplier(1.0, 1e-5, 0.01, 10, "rdp", prior=[Segment(1.0, 0.01, 5000)])
    assert refused.value.field == "target_epsilon"


def test_nothing_spent_is_zero() -> None:
    assert epsilons([], 1e-5) == epsilons([Segment(1.0, 0.01, 0)], 1e-5)
    assert epsilon([], 1e-5) == 0.0


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "field"),
    [
        (0.0, 0.1, 1, "noise_multiplier"),
        (math.nan, 0.1, 1, "noise_multiplier"),
        (math.inf, 0.1, 1, "noise_multiplier"),
        (1.0, 0.0, 1, "sample_rate"),
        (1.0, 1.1, 1, "sample_rate"),
        (1.0, math.nan, 1, "sample_rate"),
        (1.0, 0.1, -1, "steps"),
    ],
)
def test_a_mechanism_without_guarantee_is_refused(sigma: float, rate: float, steps: int, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Segment(sigma, rate, steps)
    assert refused.value.field == field


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_an_unusable_delta_is_refused(delta: float) -> None:
    with pytest.raises(InvalidInputError, match="delta"):
        epsilon([Segment(1.0, 0.1, 1)], delta)
