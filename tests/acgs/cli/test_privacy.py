from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from acgs.cli.main import run
from acgs.privacy.ledger import DataSet
from acgs.privacy.plan import PrivacyPlan
from acgs.privacy.sql_ledger import SqlLedger
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade

PLAN = PrivacyPlan(population=10_000, expected_batch=100, noise_multiplier=1.0, steps=100)


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("ACGS_DATABASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def engine(state_dir: Path) -> Engine:
    """A ledger in which team-a ran 20 of 100 steps on `data-1` and lost 10."""
    engine = open_engine(default_url(state_dir))
    upgrade(engine)
    ledger = SqlLedger(engine)
    ledger.open_run("first", PLAN, [DataSet("data-1", "patients")], owner="team-a")
    attempt = ledger.begin_attempt("first")
    ledger.settle(ledger.reserve("first", attempt, 30, PLAN.history()[0]), 20)
    ledger.reserve("first", attempt, 10, PLAN.history()[0])
    return engine


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_ledger_shows_who_spent_what(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    (account,) = _json(capsys, "privacy", "ledger")["accounts"]
    (spent,) = account["runs"]
    assert (account["account"], spent["owner"], spent["state"]) == ("data-1", "team-a", "open")
    assert (spent["steps_spent"], spent["steps_unsettled"], spent["steps_planned"]) == (30, 10, 100)
    assert account["spent"]["rdp"] == pytest.approx(PLAN.composed((), 30))
    assert account["promised"]["rdp"] == pytest.approx(PLAN.composed(()))
    assert run(["privacy", "ledger"]) == 0
    assert "team-a" in capsys.readouterr().out


def test_one_data_set_can_be_asked_for_and_an_unknown_one_has_no_account(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(_json(capsys, "privacy", "ledger", "--dataset", "data-1")["accounts"]) == 1
    assert _json(capsys, "privacy", "ledger", "--dataset", "data-2") == {"accounts": []}
    assert run(["privacy", "ledger", "--dataset", "data-2"]) == 0
    assert "no run was opened on this data set" in capsys.readouterr().out


def test_an_absent_ledger_is_said_to_be_absent_and_not_made(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["privacy", "ledger"]) == 2
    assert "there is no ledger" in capsys.readouterr().err
    assert list(state_dir.iterdir()) == []


def test_verify_shows_the_head_and_finds_a_ledger_that_was_altered_or_cut_short(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = _json(capsys, "privacy", "ledger", "--verify")
    assert (whole["holds"], whole["entries"]) == (True, 5)
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER privacy_ledger_no_delete"))
        connection.execute(text("DELETE FROM privacy_ledger WHERE sequence = 5"))
    assert _json(capsys, "privacy", "ledger", "--verify")["entries"] == 4
    assert not _json(capsys, "privacy", "ledger", "--verify", "--head", whole["head"], code=1)["holds"]
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM privacy_ledger WHERE sequence = 2"))
    assert run(["privacy", "ledger", "--verify"]) == 1
    assert "entry 2 is missing" in capsys.readouterr().err
    assert run(["privacy", "ledger"]) == 2


def test_a_run_that_will_not_go_on_can_be_closed(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    closed = _json(capsys, "privacy", "close", "first")
    assert closed == {"run_id": "first", "closed": True, "steps_spent": 30}
    (account,) = _json(capsys, "privacy", "ledger")["accounts"]
    assert account["promised"] == account["spent"]
    assert run(["privacy", "close", "second"]) == 2


def test_estimate_gives_the_noise_for_an_epsilon(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "privacy", "estimate", "-n", "10000", "-b", "256", "--steps", "117", "--epsilon", "8")
    assert found["noise_multiplier"] == pytest.approx(0.631, abs=0.0015)
    assert found["epsilon"]["prv"] < found["epsilon"]["rdp"] <= 7.6
    assert found["steps_to"]["90%"] < 117 <= found["steps_to"]["95%"] < found["steps_to"]["100%"]


def test_estimate_gives_the_epsilon_for_a_noise(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-n", "60000", "-b", "256", "--epochs", "60", "--noise-multiplier", "1.1"]
    found = _json(capsys, "privacy", "estimate", *words)
    assert found["steps"] == 14_063
    assert found["epsilon"]["rdp"] == pytest.approx(2.60, abs=0.01)
    assert run(["privacy", "estimate", *words]) == 0
    assert "rdp 2.59666" in capsys.readouterr().out


def test_estimate_names_what_the_contract_calls_a_violation(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-n", "10000", "-b", "256", "--steps", "117", "--noise-multiplier", "0.45"]
    found = _json(capsys, "privacy", "estimate", *words)
    assert found["violations"] == ["privacy_budget_exceeded", "epsilon_too_high", "noise_multiplier_too_low"]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--steps", "10", "--epsilon", "0"], "target_epsilon"),
        (["--steps", "10", "--delta", "0.01"], "delta"),
        (["--steps", "0"], "steps"),
        (["--steps", "10", "--accountant", "gdp"], "accountant"),
        (["--steps", "10", "--noise-multiplier", "0"], "noise_multiplier"),
        (["--steps", "10", "--epochs", "1"], "steps"),
        ([], "steps"),
        (["--steps", "10", "-b", "101"], "expected_batch"),
        (["--epochs", "1", "-b", "0"], "batch"),
    ],
)
def test_bad_input_is_refused_by_field_in_one_sentence(
    words: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = _json(capsys, "privacy", "estimate", "-n", "100", "-b", "10", *words, code=2)["error"]
    assert error["field"] == field
    assert "\n" not in error["message"]


def test_a_head_without_verify_is_refused(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["privacy", "ledger", "--head", "1:" + "0" * 64]) == 2
    assert "--verify" in capsys.readouterr().err


def test_a_password_in_the_url_is_not_shown(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACGS_DATABASE_URL", "postgresql+psycopg://a:s3cr3t@127.0.0.1:9/x?connect_timeout=2")
    for words in (["privacy", "ledger"], ["privacy", "ledger", "--json"], ["privacy", "ledger", "--help"]):
        run(words)
        output = capsys.readouterr()
        assert "s3cr3t" not in output.out + output.err
