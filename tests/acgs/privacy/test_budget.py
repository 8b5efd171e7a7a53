from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.privacy.budget import BudgetGuard, violations
from acgs.privacy.ledger import DataSet
from acgs.privacy.plan import PrivacyPlan, plan_privacy, step_limits
from acgs.privacy.sql_ledger import SqlLedger

if TYPE_CHECKING:
    from tests.acgs.privacy.conftest import MakePlan


@pytest.fixture
def ledger(sqlite_engine: Engine) -> SqlLedger:
    return SqlLedger(sqlite_engine)


@pytest.fixture
def open_run(ledger: SqlLedger, data: DataSet) -> str:
    """A run that was given more steps than 95 % of its budget allows."""
    plan = PrivacyPlan(population=10_000, expected_batch=256, steps=110, noise_multiplier=0.62)
    return ledger.open_run("run", plan, [data], owner="team-a").run_id


def _run_out(guard: BudgetGuard) -> int:
    count = 0
    while guard.permit():
        count += 1
    return count


def test_training_stops_before_the_step_that_would_cross_95_percent(ledger: SqlLedger, open_run: str) -> None:
    plan = ledger.run(open_run).plan
    with BudgetGuard(ledger, open_run) as guard:
        ran = _run_out(guard)
        status = guard.status()
    assert ran == 99
    assert plan.composed((), ran) <= 0.95 * 8.0 < plan.composed((), ran + 1)
    assert status.state == "critical"
    assert status.violations == ()


def test_the_state_goes_from_ok_to_warning_to_critical_at_90_and_95_percent(ledger: SqlLedger, open_run: str) -> None:
    plan = ledger.run(open_run).plan
    states: list[str] = []
    with BudgetGuard(ledger, open_run) as guard:
        while guard.permit():
            states.append(guard.state)
    warned = states.index("warning") + 1
    assert plan.composed((), warned - 1) <= 0.90 * 8.0 < plan.composed((), warned)
    assert states == ["ok"] * (warned - 1) + ["warning"] * (98 - warned + 1) + ["critical"]


def test_a_planned_run_runs_all_its_steps(ledger: SqlLedger, data: DataSet) -> None:
    plan = plan_privacy(population=10_000, expected_batch=256, steps=60)
    ledger.open_run("run", plan, [data], owner="team-a")
    with BudgetGuard(ledger, "run", block=7) as guard:
        assert _run_out(guard) == 60
    assert ledger.run("run").settled == 60


def test_a_clean_stop_gives_back_what_was_reserved_and_did_not_run(ledger: SqlLedger, open_run: str) -> None:
    with BudgetGuard(ledger, open_run, block=20) as guard:
        for _ in range(23):
            assert guard.permit()
        assert ledger.run(open_run).steps_spent == 40
    assert ledger.run(open_run).steps_spent == 23


def test_an_error_in_the_loop_settles_what_ran(ledger: SqlLedger, open_run: str) -> None:
    with pytest.raises(ZeroDivisionError), BudgetGuard(ledger, open_run, block=20) as guard:
        guard.permit()
        raise ZeroDivisionError
    assert ledger.run(open_run).steps_spent == 1


def test_the_steps_of_a_lost_process_come_off_the_next_attempt(
    ledger: SqlLedger, open_run: str, sqlite_engine: Engine
) -> None:
    lost = BudgetGuard(ledger, open_run, block=20)
    for _ in range(33):
        lost.permit()
    with BudgetGuard(SqlLedger(sqlite_engine), open_run, block=20) as guard:
        assert guard.attempt == 2
        # 20 settled, 20 reserved of which 13 ran: who can tell.
        assert guard.steps == 40
        assert _run_out(guard) == 99 - 40
    with pytest.raises(InvalidInputError, match="stop this process"):
        for _ in range(20):
            lost.permit()


def test_other_runs_on_the_data_shorten_this_one(ledger: SqlLedger, open_run: str, data: DataSet) -> None:
    other = PrivacyPlan(population=10_000, expected_batch=256, steps=20, noise_multiplier=1.0)
    ledger.open_run("other", other, [data], owner="team-b")
    plan = ledger.run(open_run).plan
    with BudgetGuard(ledger, open_run) as guard:
        assert guard.steps_left == step_limits(plan, [other.history()]).critical < 99


def test_the_status_has_the_published_keys_and_composes_all_runs(
    ledger: SqlLedger, open_run: str, data: DataSet
) -> None:
    other = PrivacyPlan(population=10_000, expected_batch=256, steps=20, noise_multiplier=1.0)
    ledger.open_run("other", other, [data], owner="team-b")
    with BudgetGuard(ledger, open_run) as guard:
        for _ in range(10):
            guard.permit()
        status = guard.status().as_dict()
    plan = ledger.run(open_run).plan
    assert {"epsilon", "delta", "target_epsilon", "remaining_budget", "budget_utilization", "training_steps"} < set(
        status
    )
    assert status["epsilon"] == plan.composed(other.history(), 10) > plan.composed((), 10)
    assert status["remaining_budget"] == pytest.approx(8.0 - status["epsilon"])
    assert status["budget_utilization"] == pytest.approx(status["epsilon"] / 8.0)
    assert status["training_steps"] == 10


def test_a_runs_own_cap_stops_it_and_is_what_its_status_reports(ledger: SqlLedger, data: DataSet) -> None:
    plan = PrivacyPlan(population=10_000, expected_batch=256, steps=110, noise_multiplier=1.0, run_epsilon=1.5)
    ledger.open_run("run", plan, [data], owner="team-a")
    with BudgetGuard(ledger, "run") as guard:
        ran = _run_out(guard)
        status = guard.status()
    assert plan.composed((), ran) <= 0.95 * 1.5 < plan.composed((), ran + 1)
    assert (status.state, status.target_epsilon) == ("critical", 1.5)
    assert 0.90 < status.budget_utilization <= 0.95


def test_a_ledger_that_was_altered_stops_the_loop_at_the_next_block(
    ledger: SqlLedger, open_run: str, sqlite_engine: Engine
) -> None:
    guard = BudgetGuard(ledger, open_run, block=5)
    for _ in range(5):
        guard.permit()
    with sqlite_engine.begin() as connection:
        connection.execute(text("DROP TRIGGER privacy_ledger_no_delete"))
        connection.execute(text("DELETE FROM privacy_ledger WHERE sequence = 3"))
    with pytest.raises(IntegrityError):
        guard.permit()


def test_a_ledger_that_cannot_be_written_stops_the_loop_and_counts_the_block(
    ledger: SqlLedger, open_run: str, sqlite_engine: Engine
) -> None:
    guard = BudgetGuard(ledger, open_run, block=5)
    for _ in range(3):
        guard.permit()
    with sqlite_engine.begin() as connection:
        connection.execute(text("ALTER TABLE privacy_ledger RENAME TO elsewhere"))
    with pytest.raises(UnavailableError):
        guard.close()
    assert guard.steps == 5


@given(block=st.integers(3, 30), stops=st.lists(st.integers(0, 30), min_size=1, max_size=4))
@settings(max_examples=6, deadline=None)
def test_attempts_that_stop_cleanly_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, block: int, stops: list[int]
) -> None:
    from acgs.storage.engine import default_url, open_engine
    from acgs.storage.migrate import upgrade

    engine = open_engine(default_url(tmp_path_factory.mktemp("ledger")))
    upgrade(engine)
    ledger = SqlLedger(engine)
    plan = PrivacyPlan(population=10_000, expected_batch=100, noise_multiplier=2.0, steps=100)
    ledger.open_run("run", plan, [DataSet("data", "patients")], owner="team-a")
    for stop in stops:
        with BudgetGuard(ledger, "run", block=block) as guard:
            for _ in range(stop):
                guard.permit()
    assert ledger.run("run").steps_spent == min(100, sum(stops))
    engine.dispose()


@pytest.mark.parametrize(
    ("values", "epsilon", "name"),
    [
        ({"target_epsilon": 2.0}, 2.1, "privacy_budget_exceeded"),
        ({"target_epsilon": 12.0}, 10.1, "epsilon_too_high"),
        ({"delta": 2e-4, "population": 1000}, 1.0, "delta_too_high"),
        ({"noise_multiplier": 0.49}, 1.0, "noise_multiplier_too_low"),
    ],
)
def test_violations_have_their_published_names(
    make_plan: MakePlan, values: dict[str, object], epsilon: float, name: str
) -> None:
    assert violations(make_plan(**values), epsilon) == (name,)
    assert violations(make_plan(), 7.9) == ()


def test_a_block_has_steps(ledger: SqlLedger, open_run: str) -> None:
    with pytest.raises(InvalidInputError, match="block"):
        BudgetGuard(ledger, open_run, block=0)
