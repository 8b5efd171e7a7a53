from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, text

from acgs.errors import IntegrityError, InvalidInputError
from acgs.privacy.accountants import epsilons
from acgs.privacy.ledger import DataSet
from acgs.privacy.sql_ledger import SqlLedger
from acgs.privacy.statement import PrivacyStatement, state_privacy

if TYPE_CHECKING:
    from tests.acgs.privacy.conftest import MakePlan


@pytest.fixture
def ledger(sqlite_engine: Engine, make_plan: MakePlan, data: DataSet) -> SqlLedger:
    """`first` ran 20 steps and lost 10, `second` ran 50 on the same data."""
    ledger = SqlLedger(sqlite_engine)
    plan = make_plan()
    for run_id, steps in (("first", 20), ("second", 50)):
        ledger.open_run(run_id, plan, [data], owner="team-a")
        attempt = ledger.begin_attempt(run_id)
        ledger.settle(ledger.reserve(run_id, attempt, steps, plan.history()[0]), steps)
    ledger.reserve("first", 1, 10, plan.history()[0])
    return ledger


def test_a_statement_counts_lost_steps_and_composes_all_runs(ledger: SqlLedger, make_plan: MakePlan) -> None:
    plan = make_plan()
    statement = state_privacy(ledger, "first")
    assert (statement.steps_settled, statement.steps_unsettled) == (20, 10)
    assert statement.epsilon.rdp == epsilons(plan.history(30), plan.delta).rdp
    assert [item.epsilon.rdp for item in statement.composed] == [epsilons(plan.history(80), plan.delta).rdp]
    assert statement.ledger_head == str(ledger.verify())


def test_a_statement_survives_json_unchanged(ledger: SqlLedger) -> None:
    statement = state_privacy(ledger, "first")
    assert PrivacyStatement.model_validate_json(statement.model_dump_json()) == statement


def test_the_model_card_names_unit_figures_data_and_what_is_not_covered(ledger: SqlLedger, data: DataSet) -> None:
    statement = state_privacy(ledger, "first")
    card = statement.markdown()
    assert "one record; adding or removing it" in card
    assert f"{statement.epsilon.rdp:.3f} (RDP)" in card
    assert f"{statement.composed[0].epsilon.prv:.3f} (PRV)" in card
    assert "20 run, 10 reserved and never settled (counted)" in card
    assert data.id in card
    for word in ("hyper-parameters", "tokenizer", "Raw training loss"):
        assert word in card


def test_there_is_no_statement_from_an_altered_ledger(ledger: SqlLedger, sqlite_engine: Engine) -> None:
    with sqlite_engine.begin() as connection:
        connection.execute(text("DROP TRIGGER privacy_ledger_no_update"))
        connection.execute(text("UPDATE privacy_ledger SET body = replace(body, '50', '05') WHERE sequence > 1"))
    with pytest.raises(IntegrityError):
        state_privacy(ledger, "first")


def test_there_is_no_statement_for_an_unknown_run(ledger: SqlLedger) -> None:
    with pytest.raises(InvalidInputError, match="no run"):
        state_privacy(ledger, "third")
