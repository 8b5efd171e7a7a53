"""Processes that want the same last piece of a budget."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from acgs.privacy.ledger import DataSet
from acgs.privacy.sql_ledger import SqlLedger

if TYPE_CHECKING:
    from tests.acgs.privacy.conftest import MakePlan

PROCESS = Path(__file__).with_name("ledger_process.py")


def _race(commands: list[list[str]]) -> list[str]:
    """Start all, let them go at the same moment, and return what each printed."""
    started = [
        subprocess.Popen(
            [sys.executable, str(PROCESS), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for words in commands
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    return answers


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_processes_that_reserve_at_once_get_every_step_once_and_none_twice(
    engine: Engine, ledger: SqlLedger, make_plan: MakePlan, data: DataSet
) -> None:
    ledger.open_run("run", make_plan(steps=120), [data], owner="team-a")
    attempt = ledger.begin_attempt("run")
    counts = [int(text) for text in _race([["drain", _url(engine), "run", str(attempt)]] * 3)]
    assert sum(counts) == 120
    assert ledger.run("run").unsettled == 120
    assert ledger.verify().sequence == 2 + 120


def test_of_two_runs_that_want_the_last_budget_one_is_refused(
    engine: Engine, ledger: SqlLedger, make_plan: MakePlan, data: DataSet
) -> None:
    plan = make_plan(steps=1000, target_epsilon=2.5)
    words = [["open", _url(engine), run_id, plan.model_dump_json(), data.id] for run_id in ("first", "second")]
    assert sorted(_race(words)) == ["opened", "refused"]
    account = ledger.account(data.id)
    assert account is not None
    assert plan.composed(account.committed(), 0) <= 2.5
