"""The contract of a ledger, run over every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.privacy import sql_ledger
from acgs.privacy.accountants import Segment
from acgs.privacy.ledger import BudgetExceededError, DataSet, Head, Reservation
from acgs.privacy.ledger_entries import ORIGIN, RunClosed, Settled, chain
from acgs.privacy.ledger_table import LEDGER_TABLE
from acgs.privacy.sql_ledger import SqlLedger
from acgs.storage.engine import default_url, open_engine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acgs.privacy.conftest import MakePlan


@pytest.fixture
def mechanism(make_plan: MakePlan) -> Segment:
    return make_plan().history()[0]


@pytest.fixture
def opened(ledger: SqlLedger, make_plan: MakePlan, data: DataSet) -> SqlLedger:
    """With the run `first` of 100 steps in its first attempt."""
    ledger.open_run("first", make_plan(), [data], owner="team-a")
    assert ledger.begin_attempt("first") == 1
    return ledger


def test_an_unsettled_reservation_counts_for_ever(opened: SqlLedger, mechanism: Segment, engine: Engine) -> None:
    opened.reserve("first", 1, 30, mechanism)
    again = SqlLedger(engine)
    assert again.begin_attempt("first") == 2
    later = again.reserve("first", 2, 10, mechanism)
    again.settle(later, 4)
    run = again.close_run("first")
    assert (run.settled, run.unsettled, run.steps_spent) == (4, 30, 34)


def test_settling_gives_back_what_did_not_run(opened: SqlLedger, mechanism: Segment) -> None:
    opened.settle(opened.reserve("first", 1, 30, mechanism), 12)
    run = opened.run("first")
    assert (run.steps_spent, run.steps_left) == (12, 88)


def test_a_process_that_restarted_cannot_give_back_what_the_dead_one_reserved(
    opened: SqlLedger, mechanism: Segment, engine: Engine
) -> None:
    reserved = opened.reserve("first", 1, 30, mechanism)
    without_key = Reservation(reserved.id, "first", 1, 30, "0" * 64)
    with pytest.raises(InvalidInputError, match="only the process that reserved"):
        SqlLedger(engine).settle(without_key, 0)
    assert opened.run("first").steps_spent == 30


def test_a_process_whose_attempt_is_over_can_neither_settle_nor_reserve(
    opened: SqlLedger, mechanism: Segment, engine: Engine
) -> None:
    reserved = opened.reserve("first", 1, 30, mechanism)
    SqlLedger(engine).begin_attempt("first")
    with pytest.raises(InvalidInputError, match="stop this process"):
        opened.settle(reserved, 0)
    with pytest.raises(InvalidInputError, match="stop this process"):
        opened.reserve("first", 1, 1, mechanism)
    assert opened.run("first").steps_spent == 30


def test_a_reservation_is_settled_once(opened: SqlLedger, mechanism: Segment) -> None:
    reserved = opened.reserve("first", 1, 30, mechanism)
    opened.settle(reserved, 30)
    with pytest.raises(InvalidInputError, match="settled before"):
        opened.settle(reserved, 0)
    assert opened.run("first").steps_spent == 30


@pytest.mark.parametrize("steps_run", [-1, 31])
def test_more_or_less_than_was_reserved_cannot_have_run(opened: SqlLedger, mechanism: Segment, steps_run: int) -> None:
    reserved = opened.reserve("first", 1, 30, mechanism)
    with pytest.raises(InvalidInputError, match="cannot have run"):
        opened.settle(reserved, steps_run)


def test_a_run_cannot_reserve_more_than_it_was_promised(opened: SqlLedger, mechanism: Segment) -> None:
    opened.reserve("first", 1, 90, mechanism)
    with pytest.raises(BudgetExceededError, match="10 of its 100 steps left, 11 were asked"):
        opened.reserve("first", 1, 11, mechanism)
    opened.reserve("first", 1, 10, mechanism)


def test_a_run_can_only_use_the_mechanism_it_was_opened_for(opened: SqlLedger) -> None:
    with pytest.raises(InvalidInputError, match="another mechanism"):
        opened.reserve("first", 1, 1, Segment(0.5, 0.01, 1))


def test_a_plan_that_would_overdraw_is_refused_with_the_numbers(
    ledger: SqlLedger, make_plan: MakePlan, data: DataSet
) -> None:
    ledger.open_run("first", make_plan(target_epsilon=1.5), [data], owner="team-a")
    with pytest.raises(
        BudgetExceededError, match=r"epsilon \d\.\d+ is spent or promised .* the cap is 1\.5"
    ) as refused:
        ledger.open_run("second", make_plan(target_epsilon=1.5, steps=2000), [data], owner="team-b")
    assert data.id in refused.value.message
    account = ledger.account(data.id)
    assert account is not None
    assert [run.run_id for run in account.runs] == ["first"]


def test_the_promise_to_an_open_run_is_not_given_away_and_comes_free_when_it_closes(
    ledger: SqlLedger, make_plan: MakePlan, data: DataSet
) -> None:
    plan = make_plan(steps=1000, target_epsilon=2.5)
    assert plan.composed(()) < 2.5 < plan.composed(plan.history())
    ledger.open_run("first", plan, [data], owner="team-a")
    with pytest.raises(BudgetExceededError):
        ledger.open_run("second", plan, [data], owner="team-a")
    ledger.close_run("first")
    assert ledger.open_run("second", plan, [data], owner="team-a").steps_left == 1000


def test_spending_is_composed_over_all_runs_of_every_data_set_they_name(
    opened: SqlLedger, make_plan: MakePlan, data: DataSet, mechanism: Segment
) -> None:
    other = DataSet("sha256:" + "b" * 64, "patients")
    opened.reserve("first", 1, 30, mechanism)
    opened.open_run("second", make_plan(noise_multiplier=2.0), [data, other], owner="team-b")
    opened.reserve("second", opened.begin_attempt("second"), 20, Segment(2.0, 0.01, 0))
    accounts = {account.name: account.spent() for account in opened.accounts()}
    assert accounts == {
        data.id: (Segment(1.0, 0.01, 30), Segment(2.0, 0.01, 20)),
        other.id: (Segment(2.0, 0.01, 20),),
    }


def test_user_level_runs_on_two_data_sets_of_one_population_share_a_budget(
    ledger: SqlLedger, make_plan: MakePlan, data: DataSet
) -> None:
    plan = make_plan(steps=1000, target_epsilon=2.5, unit="user", contribution_cap=5)
    ledger.open_run("first", plan, [data], owner="team-a")
    with pytest.raises(BudgetExceededError, match="population:patients"):
        ledger.open_run("second", plan, [DataSet("other", "patients")], owner="team-a")
    ledger.open_run("third", plan, [DataSet("other", "customers")], owner="team-a")


@pytest.mark.parametrize(
    ("field", "value"), [("target_epsilon", 9.0), ("delta", 1e-6), ("accountant", "rdp"), ("unit", "sequence")]
)
def test_a_data_sets_terms_are_fixed_by_its_first_run(
    opened: SqlLedger, make_plan: MakePlan, data: DataSet, field: str, value: object
) -> None:
    with pytest.raises(InvalidInputError, match=f"fixed {field}") as refused:
        opened.open_run("second", make_plan(**{field: value}), [data], owner="team-a")
    assert refused.value.field == field


def test_opening_the_same_run_again_resumes_it_and_another_plan_is_refused(
    opened: SqlLedger, make_plan: MakePlan, data: DataSet, mechanism: Segment
) -> None:
    opened.reserve("first", 1, 30, mechanism)
    assert opened.open_run("first", make_plan(), [data], owner="team-a").steps_spent == 30
    with pytest.raises(InvalidInputError, match="another plan"):
        opened.open_run("first", make_plan(steps=200), [data], owner="team-a")


def test_a_closed_run_stays_closed(opened: SqlLedger, make_plan: MakePlan, data: DataSet, mechanism: Segment) -> None:
    reserved = opened.reserve("first", 1, 30, mechanism)
    closed = opened.close_run("first")
    assert closed == opened.close_run("first")
    assert closed.steps_left == 0
    for act in (
        lambda: opened.reserve("first", 1, 1, mechanism),
        lambda: opened.settle(reserved, 0),
        lambda: opened.begin_attempt("first"),
        lambda: opened.open_run("first", make_plan(), [data], owner="team-a"),
    ):
        with pytest.raises(InvalidInputError, match="closed"):
            act()


def test_a_run_that_was_let_in_meanwhile_is_seen_before_the_next_one_is(
    ledger: SqlLedger, engine: Engine, make_plan: MakePlan, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(steps=1000, target_epsilon=2.5)
    judge = sql_ledger._refuse_overdraft
    rival = iter([SqlLedger(engine)])

    def judge_while_another_opens(*arguments: object) -> None:
        judge(*arguments)  # type: ignore[arg-type]
        for other in rival:
            other.open_run("rival", plan, [data], owner="team-b")

    monkeypatch.setattr(sql_ledger, "_refuse_overdraft", judge_while_another_opens)
    with pytest.raises(BudgetExceededError):
        ledger.open_run("first", plan, [data], owner="team-a")
    account = ledger.account(data.id)
    assert account is not None
    assert [run.run_id for run in account.runs] == ["rival"]


def test_an_unknown_data_set_has_no_account_rather_than_an_empty_one(ledger: SqlLedger) -> None:
    assert ledger.account("sha256:unknown") is None
    with pytest.raises(InvalidInputError, match="no run"):
        ledger.run("unknown")


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 201, "-x"])
def test_unusable_names_are_refused(ledger: SqlLedger, make_plan: MakePlan, data: DataSet, name: str) -> None:
    with pytest.raises(InvalidInputError, match="run_id"):
        ledger.open_run(name, make_plan(), [data], owner="team-a")
    with pytest.raises(InvalidInputError, match="dataset"):
        DataSet(name, "patients")


def test_a_run_names_its_data(ledger: SqlLedger, make_plan: MakePlan) -> None:
    with pytest.raises(InvalidInputError, match="data sets"):
        ledger.open_run("first", make_plan(), [], owner="team-a")
    with pytest.raises(InvalidInputError, match="population:"):
        DataSet("population:patients", "patients")


@pytest.mark.parametrize("statement", ["UPDATE privacy_ledger SET body = '{}'", "DELETE FROM privacy_ledger"])
def test_the_database_itself_refuses_change_and_removal(opened: SqlLedger, engine: Engine, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    assert opened.run("first").attempts == 1


def test_a_ledger_without_its_table_lets_nothing_run(tmp_path: Path, make_plan: MakePlan, data: DataSet) -> None:
    empty = SqlLedger(open_engine(default_url(tmp_path / "empty")))
    with pytest.raises(UnavailableError):
        empty.open_run("first", make_plan(), [data], owner="team-a")


class TestTampering:
    """On SQLite, where the test can take the triggers away as an intruder with the file would."""

    @pytest.fixture
    def engine(self, sqlite_engine: Engine) -> Engine:
        return sqlite_engine

    @pytest.fixture
    def spent(self, opened: SqlLedger, mechanism: Segment, engine: Engine) -> SqlLedger:
        """Five entries: opened, attempt, reserved, settled, reserved."""
        opened.settle(opened.reserve("first", 1, 30, mechanism), 30)
        opened.reserve("first", 1, 10, mechanism)
        assert opened.verify().sequence == 5
        with engine.begin() as connection:
            for verb in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER privacy_ledger_no_{verb}"))
        return opened

    @pytest.mark.parametrize("sequence", [1, 2, 3, 4, 5])
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("body", "replace(body, 'first', 'First')"),
            ("body", "body || ' '"),
            ("kind", "'run_closed'"),
            ("run_id", "'other'"),
            ("recorded_at", "'2020-01-01'"),
            ("digest", "previous_digest"),
            ("previous_digest", "digest"),
            ("sequence", "sequence + 100"),
        ],
    )
    def test_any_changed_field_of_any_entry_stops_training(
        self, spent: SqlLedger, engine: Engine, mechanism: Segment, sequence: int, column: str, value: str
    ) -> None:
        with engine.begin() as connection:
            before = connection.execute(LEDGER_TABLE.select().order_by(LEDGER_TABLE.c.sequence)).all()
            connection.execute(text(f"UPDATE privacy_ledger SET {column} = {value} WHERE sequence = {sequence}"))
            after = connection.execute(LEDGER_TABLE.select().order_by(LEDGER_TABLE.c.sequence)).all()
        assert before != after
        with pytest.raises(IntegrityError):
            spent.verify()
        with pytest.raises(IntegrityError):
            SqlLedger(engine).reserve("first", 1, 1, mechanism)

    @pytest.mark.parametrize("sequence", [1, 2, 3, 4])
    def test_a_removed_entry_stops_training(
        self, spent: SqlLedger, engine: Engine, mechanism: Segment, sequence: int
    ) -> None:
        with engine.begin() as connection:
            connection.execute(text(f"DELETE FROM privacy_ledger WHERE sequence = {sequence}"))
        with pytest.raises(IntegrityError, match=f"entry {sequence} is missing"):
            SqlLedger(engine).reserve("first", 1, 1, mechanism)

    def test_a_ledger_cut_short_is_found_by_a_process_or_a_head_that_knew_it_longer(
        self, spent: SqlLedger, engine: Engine, mechanism: Segment
    ) -> None:
        head = spent.verify()
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM privacy_ledger WHERE sequence = 5"))
        with pytest.raises(IntegrityError, match="entry 5"):
            spent.reserve("first", 1, 1, mechanism)
        fresh = SqlLedger(engine)
        assert fresh.verify().sequence == 4
        with pytest.raises(IntegrityError, match="entry 5"):
            fresh.verify(Head.parse(str(head)))

    @pytest.mark.parametrize(
        "body",
        [
            Settled(run_id="first", reservation_id="none", steps_run=0),
            RunClosed(run_id="never-opened"),
        ],
    )
    def test_an_entry_that_the_rules_forbid_is_found_though_its_chain_holds(
        self, spent: SqlLedger, engine: Engine, mechanism: Segment, body: Settled | RunClosed
    ) -> None:
        entry = chain(body, "2026-01-01T00:00:00.000+00:00", spent.verify())
        values = {column.name: getattr(entry, column.name) for column in LEDGER_TABLE.columns}
        with engine.begin() as connection:
            connection.execute(LEDGER_TABLE.insert().values(values))
        for reader in (spent, SqlLedger(engine)):
            with pytest.raises(IntegrityError, match="breaks the ledger's rules"):
                reader.reserve("first", 1, 1, mechanism)


@pytest.mark.parametrize("text_", ["", "5", "5:abc", "x:" + "0" * 64, "5:" + "G" * 64])
def test_a_mistyped_head_is_refused(text_: str) -> None:
    with pytest.raises(InvalidInputError, match="SEQUENCE:DIGEST"):
        Head.parse(text_)


def test_an_empty_ledger_holds(ledger: SqlLedger) -> None:
    assert ledger.verify() == ORIGIN
    assert ledger.accounts() == ()
