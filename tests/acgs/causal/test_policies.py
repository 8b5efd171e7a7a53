from __future__ import annotations

import numpy as np
import pytest

from acgs.causal import AuditPlan, Roles, tabulate
from acgs.causal.policies import compare_policy
from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError
from tests.acgs.causal.logs import bandit, table_of

ROLES = Roles(treatment="item", outcome="click", propensity="probability")
PLAN = AuditPlan(folds=2)


def test_the_value_of_a_policy_is_recovered_as_often_as_its_interval_claims() -> None:
    """1,000 logs of evenly chosen items; the target prefers the better ones, so the truth is known."""
    target = np.linspace(0.5, 1.5, 8) / 8
    truth = float(target @ np.linspace(0.05, 0.4, 8)) - np.linspace(0.05, 0.4, 8).mean()
    found = []
    for seed in range(1000):
        log = bandit(800, seed=seed)
        table = tabulate(log, ROLES, policy=np.tile(target, (800, 1)))
        found.append(compare_policy(table, PLAN).estimates)
    for method in (0, 1):
        intervals = [each[method].interval(0.95) for each in found]
        assert np.mean([each[method].value for each in found]) == pytest.approx(truth, abs=0.002)
        assert np.mean([low <= truth <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


def test_knowing_what_each_arm_brings_narrows_the_interval() -> None:
    log = bandit(4000)
    target = np.linspace(0.2, 1.8, 8) / 8
    known = compare_policy(tabulate(log, ROLES, policy=np.tile(target, (4000, 1))), PLAN)
    roles = ROLES.model_copy(update={"target": "wanted"})
    unknown = compare_policy(tabulate(log | {"wanted": target[log["item"]]}, roles), PLAN)
    assert known.value.error < unknown.value.error
    assert known.weights == pytest.approx(unknown.weights)
    assert known.value.value == pytest.approx(unknown.value.value, abs=0.03)


def test_the_policy_that_made_the_log_is_worth_what_the_log_brought() -> None:
    log = bandit(1000)
    table = table_of(log, treatment="item", outcome="click", propensity="probability", target="probability")
    compared = compare_policy(table, PLAN)
    assert compared.value.value == pytest.approx(log["click"].mean())
    assert compared.value.error == pytest.approx(log["click"].std(ddof=1) / np.sqrt(1000))
    assert compared.answer.interval(0.95) == (0.0, 0.0)


def test_a_log_that_holds_nothing_of_the_target_says_so() -> None:
    log = bandit(1000) | {"wanted": np.zeros(1000)}
    table = table_of(log, treatment="item", outcome="click", propensity="probability", target="wanted")
    with pytest.raises(InsufficientDataError, match="nothing of what the target"):
        compare_policy(table, PLAN)


def test_a_policy_must_be_named() -> None:
    with pytest.raises(InvalidInputError, match="name the target policy"):
        compare_policy(table_of(bandit(100), treatment="item", outcome="click", propensity="probability"), PLAN)
