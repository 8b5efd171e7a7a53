"""Session stores of each kind, a cluster that runs no jobs, and a clock that stands until it is moved."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from acgs.errors import UnavailableError
from acgs.learning.sessions.runner import Job, JobPhase
from acgs.learning.sessions.session import Session
from acgs.learning.sessions.sql_store import SqlSessionStore

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
def store(engine: Engine) -> SqlSessionStore:
    return SqlSessionStore(engine)


@pytest.fixture
def sqlite_store(sqlite_engine: Engine) -> SqlSessionStore:
    return SqlSessionStore(sqlite_engine)
