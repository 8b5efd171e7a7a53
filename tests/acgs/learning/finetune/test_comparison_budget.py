"""What private variants spend together is what the ledger will say that they spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from acgs.errors import InvalidInputError
from acgs.learning.finetune.comparison_budget import check_budget
from acgs.privacy.ledger import Account, DataSet, RunAccount
from acgs.privacy.plan import PrivacyPlan, plan_privacy

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY: frozenset[str] = frozenset()
EPSILONS = {"dp-4": 4.0, "dp-1": 1.0}


def plan_of(epsilon: float, budget: float = 20.0) -> PrivacyPlan:
    return plan_privacy(
        population=1000, expected_batch=64, steps=40, target_epsilon=budget, run_epsilon=epsilon, accountant="rdp"
    )


PLANS = {name: plan_of(epsilon) for name, epsilon in EPSILONS.items()}


def account(runs: dict[str, PrivacyPlan], target: float = 20.0) -> Account:
    def opened(run_id: str, plan: PrivacyPlan) -> RunAccount:
        return RunAccount(run_id, "team", "2026-01-01", (DataSet("d", "p"),), plan, 0, 0, 0, closed=False)

    return Account("d", target, 1e-5, "record", "rdp", tuple(opened(*item) for item in runs.items()))


def least(accounts: Sequence[Account]) -> float:
    with pytest.raises(InvalidInputError) as caught:
        check_budget(PLANS, EPSILONS, accounts, NOBODY, None)
    return float(caught.value.message.rsplit(" ", 1)[1])


def test_the_budget_that_a_refusal_asks_for_suffices_and_a_smaller_one_does_not() -> None:
    needed = least([])
    spending = check_budget(PLANS, EPSILONS, [], NOBODY, needed)
    assert spending.together <= 0.95 * needed
    # Composition is cheaper than adding up, and dearer than the dearest.
    assert 4 * 0.95 < spending.together < 0.95 * 5
    with pytest.raises(InvalidInputError, match="dp-4, dp-1 would spend"):
        check_budget(PLANS, EPSILONS, [], NOBODY, needed - 0.02)


def test_what_other_runs_spent_counts_and_ones_own_does_not_count_twice() -> None:
    alone = check_budget(PLANS, EPSILONS, [], NOBODY, 20)
    others = [account({"other": plan_of(3)})]
    after = check_budget(PLANS, EPSILONS, others, NOBODY, 20)
    assert after.together > alone.together
    assert after.before == pytest.approx(plan_of(3).composed(()))
    own = [account({"mine": PLANS["dp-4"]})]
    assert check_budget(PLANS, EPSILONS, own, frozenset({"mine"}), 20).together == alone.together
    assert least(others) > least([])


def test_a_budget_other_than_the_ledgers_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="fixed at 8"):
        check_budget(PLANS, EPSILONS, [account({"other": plan_of(1)}, target=8.0)], NOBODY, 20)


def test_a_variant_that_cannot_reach_its_epsilon_is_refused_rather_than_misnamed() -> None:
    starved = {"dp-8": plan_of(2.0)}
    with pytest.raises(InvalidInputError, match="dp-8 would come to"):
        check_budget(starved, {"dp-8": 8.0}, [], NOBODY, 8)
