from __future__ import annotations

from typing import Any

import pytest

from acgs.errors import InvalidInputError
from acgs.privacy.accountants import Segment
from acgs.privacy.plan import PrivacyPlan, plan_privacy, step_limits

GIVEN: dict[str, Any] = {"population": 10_000, "expected_batch": 256, "steps": 117}
PLAN: dict[str, Any] = GIVEN | {"noise_multiplier": 1.0}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("target_epsilon", 0.0, "greater than 0"),
        ("target_epsilon", -1.0, "greater than 0"),
        ("target_epsilon", float("nan"), "finite"),
        ("delta", 1e-4, "below 1/population"),
        ("delta", 0.0, "greater than 0"),
        ("expected_batch", 10_001, "larger than the population"),
        ("expected_batch", 0, "greater than or equal to 1"),
        ("steps", 0, "greater than or equal to 1"),
        ("steps", 1.5, "integer"),
        ("steps", True, "integer"),
        ("population", 0, "greater than or equal to 1"),
        ("noise_multiplier", 0.0, "greater than 0"),
        ("max_grad_norm", 0.0, "greater than 0"),
        ("accountant", "gdp", "'rdp', 'prv' or 'larger'"),
        ("unit", "household", "'record', 'sequence' or 'user'"),
        ("contribution_cap", 3, "belongs to unit `user`"),
        ("run_epsilon", 9.0, "above target_epsilon"),
        ("epochs", 3, "Extra inputs"),
    ],
)
def test_a_plan_that_gives_no_guarantee_is_refused_by_field(field: str, value: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as refused:
        PrivacyPlan(**(PLAN | {field: value}))
    assert refused.value.field == field


def test_user_level_privacy_needs_a_contribution_cap() -> None:
    with pytest.raises(InvalidInputError, match="needs it"):
        PrivacyPlan(**PLAN, unit="user")
    assert PrivacyPlan(**PLAN, unit="user", contribution_cap=4).contribution_cap == 4


def test_the_defaults_are_epsilon_8_at_delta_1e_5_by_the_larger_bound() -> None:
    plan = PrivacyPlan(**PLAN)
    assert (plan.target_epsilon, plan.delta, plan.accountant) == (8.0, 1e-5, "larger")


def test_steps_are_kept_where_dividing_twice_would_lose_one() -> None:
    plan = PrivacyPlan(population=93, expected_batch=1, steps=93, noise_multiplier=1.0)
    assert int(1 / plan.sample_rate) == 92
    assert plan.history()[0].steps == 93


def test_the_planned_steps_end_within_95_percent_so_that_the_schedule_is_not_cut_off() -> None:
    plan = plan_privacy(**GIVEN)
    limits = step_limits(plan)
    assert plan.composed(()) <= 0.95 * 8.0
    assert limits.warning < plan.steps <= limits.critical < limits.exhausted
    assert plan.composed((), limits.exhausted) <= 8.0 < plan.composed((), limits.exhausted + 1)


def test_what_the_data_has_spent_costs_noise_and_steps() -> None:
    prior = [Segment(1.0, 0.0256, 300)]
    fresh, later = plan_privacy(**GIVEN), plan_privacy(**GIVEN, priors=[prior])
    assert later.noise_multiplier > fresh.noise_multiplier
    assert later.composed(prior) <= 0.95 * 8.0
    assert step_limits(fresh, [prior]).exhausted < step_limits(fresh).exhausted


def test_the_scarcest_data_set_decides() -> None:
    plan = PrivacyPlan(**PLAN)
    some, much = [Segment(1.0, 0.0256, 100)], [Segment(1.0, 0.0256, 400)]
    assert step_limits(plan, [some, much]) == step_limits(plan, [much])
    assert plan_privacy(**GIVEN, priors=[some, much]) == plan_privacy(**GIVEN, priors=[much])


def test_a_run_can_keep_to_a_share_of_the_data_sets_budget() -> None:
    plan = plan_privacy(**GIVEN, target_epsilon=8.0, run_epsilon=2.0)
    assert plan.composed(()) <= 0.95 * 2.0
    assert plan.composed((), step_limits(plan).exhausted) <= 2.0


def test_spent_data_is_refused_before_any_noise_is_chosen() -> None:
    with pytest.raises(InvalidInputError, match="whose budget is left"):
        plan_privacy(**GIVEN, target_epsilon=1.0, accountant="rdp", priors=[[Segment(0.7, 0.0256, 400)]])


def test_a_plan_survives_json_unchanged() -> None:
    plan = plan_privacy(**GIVEN, run_epsilon=3.0)
    assert PrivacyPlan.model_validate_json(plan.model_dump_json()) == plan
