from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.privacy.accountants import Segment, epsilon
from acgs.privacy.ledger import BudgetExceededError
from acgs.privacy.plan import PrivacyPlan
from acgs.privacy.tuning import refuse_overdraft, sweep_costs


def plan(noise: float, steps: int = 20) -> PrivacyPlan:
    return PrivacyPlan(population=500, expected_batch=50, steps=steps, noise_multiplier=noise, accountant="rdp")


def test_the_cost_of_a_sweep_is_that_of_all_its_trials_together() -> None:
    prior = (Segment(1.5, 0.1, 30),)
    [cost] = sweep_costs([plan(1.0), plan(2.0)], {"people": prior})
    together = (*prior, Segment(1.0, 0.1, 20), Segment(2.0, 0.1, 20))
    assert cost.before == pytest.approx(epsilon(prior, 1e-5, "rdp"))
    assert cost.after == pytest.approx(epsilon(together, 1e-5, "rdp"))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.8, 4.0), min_size=1, max_size=4), st.floats(0.8, 4.0))
def test_one_more_trial_never_costs_less(noises: list[float], more: float) -> None:
    plans = [plan(noise) for noise in noises]
    [fewer] = sweep_costs(plans, {"people": ()})
    [all_of_them] = sweep_costs([*plans, plan(more)], {"people": ()})
    assert all_of_them.after >= fewer.after


def test_a_sweep_is_refused_with_its_figures_though_each_trial_alone_would_fit() -> None:
    plans = [plan(1.0, 40) for _ in range(12)]
    [alone] = sweep_costs(plans[:1], {"people": ()})
    refuse_overdraft([alone], 1)
    [together] = sweep_costs(plans, {"people": ()})
    with pytest.raises(BudgetExceededError, match=rf"12 trials .* people from epsilon 0.000 to {together.after:.3f}"):
        refuse_overdraft([together], 12)


def test_the_scarcest_account_decides() -> None:
    spent = (Segment(1.0, 0.1, 400),)
    costs = sweep_costs([plan(2.0)], {"fresh": (), "used": spent})
    assert [cost.fits for cost in costs] == [True, False]
    with pytest.raises(BudgetExceededError, match="used"):
        refuse_overdraft(costs, 1)
