from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from acgs.errors import AuditWriteError
from acgs.learning.sessions.runner import JobPhase
from acgs.learning.sessions.scheduler import Limits, QueueFullError, Scheduler
from acgs.learning.sessions.session import Session, SessionConflictError, Status
from acgs.learning.sessions.sql_store import SqlSessionStore
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade
from tests.acgs.learning.sessions.conftest import START, Clock, FakeRunner, MakeSession


class Observed:
    """What an observer was told."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, Status]] = []
        self.counted: list[tuple[str, Status]] = []
        self.can_write = True

    def record_end(self, session: Session) -> None:
        if not self.can_write:
            raise AuditWriteError("the disk is full")
        self.recorded.append((session.id, session.status))

    def ended(self, session: Session) -> None:
        self.counted.append((session.id, session.status))


class Bench:
    """A scheduler with all that it works on; `restart` replaces the scheduler and keeps the rest."""

    def __init__(self, store: SqlSessionStore, runner: FakeRunner, clock: Clock, root: Path) -> None:
        self.store, self.runner, self.clock, self.root = store, runner, clock, root
        self.observed = Observed()
        self.make: MakeSession | None = None
        self.restart()

    def restart(self, running: int = 2, queued: int = 3) -> None:
        self.scheduler = Scheduler(
            self.store,
            self.runner,
            limits=Limits(running, queued),
            output=lambda session_id: self.root / session_id,
            observer=self.observed,
            clock=self.clock,
        )

    def add(self, session: Session) -> str:
        admitted = self.scheduler.admit(session)
        self.scheduler.ready(admitted.id)
        return admitted.id

    def status(self, session_id: str) -> Status:
        return self.store.get(session_id).status


@pytest.fixture
def bench(sqlite_store: SqlSessionStore, runner: FakeRunner, clock: Clock, tmp_path: Path) -> Bench:
    return Bench(sqlite_store, runner, clock, tmp_path)


def test_a_session_runs_completes_and_is_recorded_once(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session())
    bench.scheduler.tick()
    assert bench.status(session) is Status.RUNNING
    bench.runner.end(session, JobPhase.SUCCEEDED, 0)
    for _ in range(3):
        assert bench.scheduler.tick() == []
    assert bench.status(session) is Status.COMPLETED
    assert bench.observed.recorded == bench.observed.counted == [(session, Status.COMPLETED)]


def test_the_last_progress_is_kept_with_an_ended_session(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session())
    bench.scheduler.tick()
    folder = bench.root / session
    folder.mkdir()
    (folder / "progress.json").write_text('{"phase": "sft", "progress": 1, "step": 8, "steps": 8, "epsilon": 3.5}')
    bench.runner.end(session, JobPhase.SUCCEEDED, 0)
    bench.scheduler.tick()
    (folder / "progress.json").unlink()
    progress = bench.store.get(session).progress
    assert progress is not None
    assert (progress.step, progress.epsilon, progress.loss) == (8, 3.5, None)


def test_the_last_line_of_a_refused_run_is_its_reason(bench: Bench, make_session: MakeSession) -> None:
    refused, crashed = bench.add(make_session()), bench.add(make_session())
    bench.scheduler.tick()
    bench.runner.log = "loading\nacgs: no LoRA target matches a module\n\n"
    bench.runner.end(refused, JobPhase.FAILED, 2)
    bench.runner.end(crashed, JobPhase.FAILED, 1)
    bench.scheduler.tick()
    assert bench.store.get(refused).error_message == "acgs: no LoRA target matches a module"
    assert bench.store.get(crashed).error_message == "the job failed with exit code 1; its logs say why"


def test_cancel_stops_the_job_and_keeps_the_place_until_it_has_ended(bench: Bench, make_session: MakeSession) -> None:
    bench.restart(running=1)
    first, second = bench.add(make_session()), bench.add(make_session())
    bench.scheduler.tick()
    assert bench.scheduler.cancel(first).status is Status.CANCELLING
    bench.scheduler.tick()
    assert bench.runner.stopping == {first}
    assert bench.status(second) is Status.QUEUED
    bench.runner.reap()
    bench.scheduler.tick()
    assert (bench.status(first), bench.status(second)) == (Status.CANCELLED, Status.RUNNING)


def test_a_queued_session_that_is_cancelled_never_has_a_job(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session())
    assert bench.scheduler.cancel(session).status is Status.CANCELLED
    bench.scheduler.tick()
    assert bench.runner.submitted == []
    assert bench.observed.counted == [(session, Status.CANCELLED)]


def test_a_session_cancelled_before_its_job_was_submitted_never_has_one(
    bench: Bench, make_session: MakeSession
) -> None:
    session = bench.add(make_session())
    bench.runner.answers = False
    bench.scheduler.tick()
    bench.scheduler.cancel(session)
    bench.runner.answers = True
    bench.scheduler.tick()
    assert bench.status(session) is Status.CANCELLED
    assert bench.runner.submitted == []


def test_what_ended_cannot_be_cancelled(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session())
    bench.scheduler.tick()
    bench.runner.end(session, JobPhase.SUCCEEDED, 0)
    bench.scheduler.tick()
    with pytest.raises(SessionConflictError):
        bench.scheduler.cancel(session)


def test_a_session_that_takes_too_long_is_stopped_and_has_failed(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session(max_training_seconds=60.0))
    bench.scheduler.tick()
    bench.clock.forward(59)
    bench.scheduler.tick()
    assert bench.runner.stopping == set()
    bench.clock.forward(1)
    bench.scheduler.tick()
    assert bench.runner.stopping == {session}
    bench.runner.reap()
    bench.scheduler.tick()
    ended = bench.store.get(session)
    assert ended.status is Status.FAILED
    assert ended.error_message is not None
    assert "max_training_time" in ended.error_message


def test_a_job_that_ended_well_on_the_brink_of_its_time_counts(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session(max_training_seconds=60.0))
    bench.scheduler.tick()
    bench.clock.forward(600)
    bench.runner.end(session, JobPhase.SUCCEEDED, 0)
    bench.scheduler.tick()
    assert bench.status(session) is Status.COMPLETED


def test_beyond_the_queue_the_answer_says_when_to_come_back(bench: Bench, make_session: MakeSession) -> None:
    for _ in range(5):
        bench.add(make_session(max_training_seconds=120.0))
    with pytest.raises(QueueFullError) as caught:
        bench.add(make_session())
    assert caught.value.retry_after == 5
    bench.scheduler.tick()
    bench.clock.forward(20)
    with pytest.raises(QueueFullError) as caught:
        bench.add(make_session())
    assert caught.value.retry_after == 100


def test_a_session_whose_data_never_came_makes_room(bench: Bench, make_session: MakeSession) -> None:
    lost = bench.scheduler.admit(make_session()).id
    bench.clock.forward(599)
    bench.scheduler.tick()
    assert bench.status(lost) is Status.INITIALIZING
    bench.clock.forward(2)
    bench.scheduler.tick()
    assert bench.status(lost) is Status.FAILED


def test_one_sessions_trouble_does_not_keep_others_waiting(bench: Bench, make_session: MakeSession) -> None:
    bench.restart(running=2)
    first, second = bench.add(make_session()), bench.add(make_session())
    bench.scheduler.tick()
    bench.runner.end(first, JobPhase.SUCCEEDED, 0)
    bench.runner.end(second, JobPhase.SUCCEEDED, 0)
    refusals = iter([AuditWriteError("once")])

    class Moody(Observed):
        def record_end(self, session: Session) -> None:
            for refusal in refusals:
                raise refusal

    bench.observed = Moody()
    bench.restart()
    assert [fault.code for fault in bench.scheduler.tick()] == ["audit"]
    assert {bench.status(first), bench.status(second)} == {Status.RUNNING, Status.COMPLETED}
    assert bench.scheduler.tick() == []
    assert bench.status(first) is Status.COMPLETED


def test_no_end_counts_before_it_is_on_record(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session())
    bench.scheduler.tick()
    bench.runner.end(session, JobPhase.FAILED, 1)
    bench.observed.can_write = False
    assert [fault.code for fault in bench.scheduler.tick()] == ["audit"]
    assert bench.status(session) is Status.RUNNING
    bench.observed.can_write = True
    bench.scheduler.tick()
    assert bench.observed.counted == [(session, Status.FAILED)]


def test_a_job_that_somebody_stopped_on_the_cluster_has_failed(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session())
    bench.scheduler.tick()
    bench.runner.end(session, JobPhase.STOPPED)
    bench.scheduler.tick()
    assert bench.status(session) is Status.FAILED


def test_a_restarted_service_goes_on_where_the_last_one_died(bench: Bench, make_session: MakeSession) -> None:
    running, queued, finishing = (bench.add(make_session()) for _ in range(3))
    bench.restart(running=2)
    bench.scheduler.tick()
    assert bench.runner.submitted == [running, queued]
    bench.runner.end(queued, JobPhase.SUCCEEDED, 0)
    bench.restart(running=2)
    bench.scheduler.tick()
    assert bench.status(running) is Status.RUNNING
    assert bench.status(queued) is Status.COMPLETED
    assert bench.runner.submitted == [running, queued, finishing]


@pytest.mark.parametrize("reached_the_cluster", [True, False])
def test_a_service_that_died_while_it_submitted_runs_the_session_once(
    bench: Bench, make_session: MakeSession, reached_the_cluster: bool
) -> None:
    session = bench.add(make_session())
    bench.store.claim(limit=1, now=START)
    if reached_the_cluster:
        bench.runner.submit(session)
    bench.restart()
    for _ in range(3):
        bench.scheduler.tick()
    assert bench.runner.submitted == [session]
    assert bench.store.get(session).submitted


def test_a_cluster_that_lost_its_jobs_fails_what_ran_and_runs_what_waited(
    bench: Bench, make_session: MakeSession
) -> None:
    bench.restart(running=1)
    ran, waited = bench.add(make_session()), bench.add(make_session())
    bench.scheduler.tick()
    bench.runner.jobs.clear()
    bench.scheduler.tick()
    assert bench.status(ran) is Status.FAILED
    assert bench.runner.submitted == [ran, waited]


def test_an_unreachable_cluster_ends_nothing(bench: Bench, make_session: MakeSession) -> None:
    session = bench.add(make_session())
    bench.scheduler.tick()
    bench.runner.answers = False
    bench.clock.forward(3600)
    assert [fault.code for fault in bench.scheduler.tick()] == ["unavailable"]
    assert bench.status(session) is Status.RUNNING


class Schedules(RuleBasedStateMachine):
    """Anything may happen in any order; what may not happen is checked after every step."""

    make_session: MakeSession

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        root = Path(self._folder.name)
        self._engine = open_engine(default_url(root))
        upgrade(self._engine)
        self.runner = FakeRunner()
        self.bench = Bench(SqlSessionStore(self._engine), self.runner, Clock(), root)
        self.admitted: list[str] = []

    @rule()
    def admit(self) -> None:
        waiting = [session for session in self.admitted if not self.bench.store.get(session).has_ended]
        try:
            self.admitted.append(self.bench.add(self.make_session(created_at=self.bench.clock.now)))
        except QueueFullError:
            assert len(waiting) == 5

    @rule()
    def tick(self) -> None:
        self.bench.scheduler.tick()

    @rule()
    def restart(self) -> None:
        self.bench.restart()

    @rule(answers=st.booleans())
    def connect(self, answers: bool) -> None:
        self.runner.answers = answers

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def wait(self, seconds: int) -> None:
        self.bench.clock.forward(seconds)

    @rule()
    def reap(self) -> None:
        self.runner.reap()

    @precondition(lambda self: self.runner.alive)
    @rule(place=st.integers(min_value=0), good=st.booleans())
    def end_a_job(self, place: int, good: bool) -> None:
        session = self.runner.alive[place % len(self.runner.alive)]
        self.runner.end(session, JobPhase.SUCCEEDED if good else JobPhase.FAILED, int(not good))

    @precondition(lambda self: self.admitted)
    @rule(place=st.integers(min_value=0))
    def cancel(self, place: int) -> None:
        with suppress(SessionConflictError):
            self.bench.scheduler.cancel(self.admitted[place % len(self.admitted)])

    @invariant()
    def never_more_than_the_limit_run(self) -> None:
        assert len(self.runner.alive) <= 2

    @invariant()
    def nothing_runs_twice(self) -> None:
        assert len(self.runner.submitted) == len(set(self.runner.submitted))

    @invariant()
    def nobody_is_overtaken(self) -> None:
        sessions = [self.bench.store.get(session) for session in self.admitted]
        started = [session.number for session in sessions if session.started_at is not None]
        queued = [session.number for session in sessions if session.status is Status.QUEUED]
        assert not started or not queued or max(started) < min(queued)

    def teardown(self) -> None:
        self.runner.answers = True
        for _ in range(3 * len(self.admitted) + 3):
            self.bench.scheduler.tick()
            self.runner.reap()
            for session in self.runner.alive:
                self.runner.end(session, JobPhase.SUCCEEDED, 0)
        ended = [self.bench.store.get(session) for session in self.admitted]
        assert all(session.has_ended for session in ended)
        assert sorted(name for name, _ in self.bench.observed.counted) == sorted(self.admitted)
        self._engine.dispose()
        self._folder.cleanup()


def test_no_order_of_events_breaks_the_limit_loses_a_session_or_runs_one_twice(make_session: MakeSession) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    class Made(Schedules):
        pass

    Made.make_session = staticmethod(make_session)
    run_state_machine_as_test(
        Made,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
