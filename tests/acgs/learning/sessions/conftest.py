"""Session stores of each kind, a cluster that runs no jobs, and a clock that stands until it is moved."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from acgs.errors import UnavailableError
from acgs.learning.sessions.runner import Job, JobPhase
from acgs.learning.sessions.session import Session
from acgs.learning.sessions.sql_store import SqlSessionStore
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MakeSession = Callable[..., Session]


class FakeRunner:
    """Remembers jobs instead of running them. A stopped job lives on until `reap`, as a real one does."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.submitted: list[str] = []
        self.stopping: set[str] = set()
        self.answers = True
        self.log = ""

    def submit(self, session_id: str) -> None:
        self._answer()
        if session_id not in self.jobs:
            self.submitted.append(session_id)
            self.jobs[session_id] = Job(JobPhase.ALIVE)

    def status(self, session_id: str) -> Job | None:
        self._answer()
        return self.jobs.get(session_id)

    def stop(self, session_id: str) -> None:
        self._answer()
        if self.jobs[session_id].phase is JobPhase.ALIVE:
            self.stopping.add(session_id)

    def logs(self, session_id: str, lines: int) -> str:
        self._answer()
        return self.log

    def end(self, session_id: str, phase: JobPhase, exit_code: int | None = None) -> None:
        self.jobs[session_id] = Job(phase, exit_code)
        self.stopping.discard(session_id)

    def reap(self) -> None:
        for session_id in list(self.stopping):
            self.end(session_id, JobPhase.STOPPED)

    @property
    def alive(self) -> list[str]:
        return [session_id for session_id, job in self.jobs.items() if job.phase is JobPhase.ALIVE]

    def _answer(self) -> None:
        if not self.answers:
            raise UnavailableError("the cluster does not answer")


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def make_session() -> MakeSession:
    """A session as it is taken in; arguments replace its fields."""

    def make(**values: object) -> Session:
        given: dict[str, object] = {
            "id": str(uuid.uuid4()),
            "subject": "mia",
            "model_name": "tiny",
            "model_id": "m-1",
            "max_training_seconds": 60.0,
            "created_at": START,
        }
        return Session(**(given | values))  # type: ignore[arg-type]

    return make


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(default_url(tmp_path))
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine() -> Iterator[Engine]:
    """A schema of its own in the given server's database, dropped at the end."""
    url = os.environ.get("ACGS_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("ACGS_TEST_POSTGRES_URL is not set: the contract ran on SQLite only")
    schema = f"acgs_test_{uuid.uuid4().hex}"
    server = create_engine(url)
    with server.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    joint = "&" if "?" in url else "?"
    engine = open_engine(f"{url}{joint}options=-csearch_path%3D{schema}")
    upgrade(engine)
    yield engine
    engine.dispose()
    with server.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The contract's backends."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture
def store(engine: Engine) -> SqlSessionStore:
    return SqlSessionStore(engine)


@pytest.fixture
def sqlite_store(sqlite_engine: Engine) -> SqlSessionStore:
    return SqlSessionStore(sqlite_engine)
