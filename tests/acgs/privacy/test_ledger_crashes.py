"""Whatever dies, and whenever, the ledger never counts fewer steps than ran. 1,000 deaths:

- 40 real ones: a process of its own, ended by SIGKILL at a random moment;
- 960 injected ones: the training loop in this process is cut off by an exception just before or after a statement, a
  commit or a step, and no line of it runs again: nothing is settled, its connection is just
  dropped.

Both also bound the other side: at most one block is lost in each death, so the ledger does not pass by counting too
much.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event

from acgs.privacy.budget import BudgetGuard
from acgs.privacy.ledger import DataSet
from acgs.privacy.sql_ledger import SqlLedger
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade

if TYPE_CHECKING:
    from tests.acgs.privacy.conftest import MakePlan

PROCESS = Path(__file__).with_name("ledger_process.py")
SIGKILLS = 40
INJECTED = 960
DEATHS_PER_LEDGER = 40
BLOCK = 5


@pytest.fixture
def make_long_plan(make_plan: MakePlan) -> MakePlan:
    """Plans that no number of deaths here exhausts."""
    return lambda: make_plan(population=50_000, expected_batch=50, noise_multiplier=5.0, steps=100_000)


def test_forty_sigkilled_trainers_never_ran_more_than_the_ledger_counts(
    sqlite_engine: Engine, tmp_path: Path, make_long_plan: MakePlan, data: DataSet
) -> None:
    ledger = SqlLedger(sqlite_engine)
    ledger.open_run("run", make_long_plan(), [data], owner="team-a")
    side = tmp_path / "steps"
    for part in range(4):
        words = ["kill", default_url(tmp_path), "run", str(side), str(SIGKILLS // 4), str(part)]
        subprocess.run([sys.executable, str(PROCESS), *words], check=True, timeout=120)
        executed = side.stat().st_size
        run = ledger.run("run")
        deaths = (part + 1) * SIGKILLS // 4
        assert run.attempts == deaths
        assert executed >= deaths
        assert executed <= run.steps_spent <= executed + deaths * BLOCK
        ledger.verify()


class Death(Exception):  # noqa: N818
    """Stands for SIGKILL: nothing in the product catches it."""


class Fate:
    """Counts the boundaries that the loop passes, and kills at the given one. Who is dead stays dead."""

    def __init__(self, boundary: int) -> None:
        self._left = boundary
        self.dead = False
        self._connections: list[sqlite3.Connection] = []

    def connected(self, connection: sqlite3.Connection, _record: Any) -> None:
        self._connections.append(connection)
        # What a process has written outlives it without a flush; only a machine's death needs one.
        connection.execute("PRAGMA synchronous = OFF").close()

    def close_files(self) -> None:
        """What the kernel and the next opener do for the dead: the locks go, and what was not committed."""
        for connection in self._connections:
            # Closing alone waits for cursors that the garbage collector still holds.
            connection.rollback()
            connection.close()

    def boundary(self, *_: Any, **__: Any) -> None:
        self._left -= 1
        if self._left < 0 or self.dead:
            self.dead = True
            raise Death

    def around(self, act: Callable[..., None]) -> Callable[..., None]:
        def fated(*arguments: Any) -> None:
            self.boundary()
            act(*arguments)
            self.boundary()

        return fated


def _mortal_engine(url: str, fate: Fate) -> Engine:
    engine = open_engine(url)
    event.listen(engine, "connect", fate.connected)
    event.listen(engine, "before_cursor_execute", fate.boundary)
    event.listen(engine, "after_cursor_execute", fate.boundary)
    engine.dialect.do_commit = fate.around(engine.dialect.do_commit)  # type: ignore[method-assign]
    roll_back = engine.dialect.do_rollback
    # The dead roll nothing back.
    engine.dialect.do_rollback = lambda connection: None if fate.dead else roll_back(connection)  # type: ignore[method-assign]
    return engine


def _live_and_die(url: str, fate: Fate, lifetime_steps: int) -> int:
    """One life of a training loop; returns how many steps it ran."""
    engine = _mortal_engine(url, fate)
    executed = 0
    try:
        guard = BudgetGuard(SqlLedger(engine), "run", block=BLOCK)
        while executed < lifetime_steps and guard.permit():
            fate.boundary()
            executed += 1
            fate.boundary()
        guard.close()
    except Death:
        pass
    fate.close_files()
    engine.dispose()
    return executed


def test_960_deaths_at_statement_boundaries_never_lose_a_step(
    tmp_path: Path, make_long_plan: MakePlan, data: DataSet
) -> None:
    dice = random.Random(20)
    plan = make_long_plan()
    died_after_a_step = 0
    for number in range(INJECTED // DEATHS_PER_LEDGER):
        url = default_url(tmp_path / str(number))
        engine = open_engine(url)
        upgrade(engine)
        watcher = SqlLedger(engine)
        watcher.open_run("run", plan, [data], owner="team-a")
        executed = deaths = 0
        while deaths < DEATHS_PER_LEDGER:
            fate = Fate(dice.randrange(90))
            ran = _live_and_die(url, fate, lifetime_steps=dice.randint(1, 13))
            executed += ran
            deaths += fate.dead
            died_after_a_step += fate.dead and ran > 0
            spent = watcher.run("run").steps_spent
            assert executed <= spent <= executed + deaths * BLOCK
        watcher.verify()
        engine.dispose()
    # The deaths were spread over the loop, not all at its beginning.
    assert died_after_a_step > INJECTED // 4
