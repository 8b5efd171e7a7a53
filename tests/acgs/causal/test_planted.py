from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acgs.causal import Roles, tabulate
from acgs.causal.comparison import compare
from acgs.causal.planted import Recovery, check_recovery, plant_effects, plant_rewards
from acgs.causal.policies import compare_policy
from acgs.statistics.evidence import Verdict
from tests.acgs.causal.logs import QUICK, bandit, observed, table_of


def test_an_effect_planted_where_the_arms_overlap_is_found() -> None:
    compared = compare(table_of(observed(500), covariates=("need", "other")), QUICK)
    found = plant_effects(compared, QUICK)
    assert found.effect == pytest.approx(0.5 * compared.table.outcome.std())
    assert found.bias is not None
    assert abs(found.bias) < 2 * compared.answer.error
    assert check_recovery(found, QUICK).verdict is Verdict.PASS


def test_an_effect_planted_among_causes_that_the_estimate_does_not_adjust_for_is_missed() -> None:
    """Arms and outcomes of the planted logs follow `need`, which is taken from the columns that are adjusted for."""
    compared = compare(table_of(observed(500), covariates=("need", "other")), QUICK)
    blind = replace(compared, table=replace(compared.table, covariates={"other": compared.table.covariates["other"]}))
    found = plant_effects(blind, QUICK)
    assert check_recovery(found, QUICK).verdict is Verdict.FAIL
    assert found.bias is not None
    assert found.bias < -0.3


def test_a_planted_reward_is_found_unless_part_of_the_policy_was_never_logged() -> None:
    roles = Roles(treatment="item", outcome="click", propensity="probability")
    for mass, verdict in ((1.0, Verdict.PASS), (0.7, Verdict.FAIL)):
        table = tabulate(bandit(1500), roles, policy=np.full((1500, 8), mass / 8))
        assert check_recovery(plant_rewards(compare_policy(table, QUICK), QUICK), QUICK).verdict is verdict


@pytest.mark.parametrize(("covered", "verdict"), [(20, Verdict.PASS), (16, Verdict.PASS), (15, Verdict.FAIL)])
def test_misses_are_allowed_as_far_as_chance_explains_them(covered: int, verdict: Verdict) -> None:
    assert check_recovery(Recovery(1.0, 0.0, covered, 20), QUICK).verdict is verdict
