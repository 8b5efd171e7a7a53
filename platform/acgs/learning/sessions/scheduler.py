"""Whose turn it is: at most so many sessions run, others wait in order, and nobody runs twice.

All that is known is in the store and in the cluster; the scheduler itself remembers nothing, so that one that was just
started goes on where another ended. A job is submitted under its session's id, and only if the cluster has none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from acgs.errors import AcgsError, RateLimitedError, UnavailableError
from acgs.learning.sessions.progress import Progress, read_progress
from acgs.learning.sessions.runner import Job, JobPhase, JobRunner
from acgs.learning.sessions.session import HOLDING_A_PLACE, Session, SessionConflictError, Status
from acgs.learning.sessions.store import SessionStore

EXIT_BAD_INPUT: Final = 2
"""Exit code of a job that could not use its input; the last line it wrote says why."""
INITIALIZING_LIMIT: Final = timedelta(minutes=10)
_LAST_LINES: Final = 20
_MAX_REASON_CHARS: Final = 500
_RETRY_SECONDS: Final = (5.0, 600.0)


class QueueFullError(RateLimitedError):
    """All places are taken and the queue behind them is full."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many sessions run at once, and how many more may wait."""

    running: int
    queued: int


class Observer(Protocol):
    """Learns what happens to sessions."""

    def record_end(self, session: Session) -> None:
        """Put an end on record, before it counts. May be called again for the same end after a failure."""
        ...

    def ended(self, session: Session) -> None:
        """An end that counts."""
        ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Scheduler:
    """Moves sessions on. `tick` does all the work; threads may call any method."""

    def __init__(
        self,
        store: SessionStore,
        runner: JobRunner,
        *,
        limits: Limits,
        output: Callable[[str], Path],
        observer: Observer,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        """`output` gives the folder that a session's job writes into."""
        self._store = store
        self._runner = runner
        self._limits = limits
        self._output = output
        self._observer = observer
        self._clock = clock
        self._ticking = threading.Lock()

    def admit(self, session: Session) -> Session:
        """Take a session in; it runs once it is `ready`.

        Raises:
            QueueFullError: `retry_after` says when a place may be free.
        """
        admitted = self._store.admit(session, capacity=self._limits.running + self._limits.queued)
        if admitted is None:
            raise QueueFullError(
                f"{self._limits.running} sessions run and {self._limits.queued} wait; try again later",
                retry_after=self._seconds_to_a_place(),
            )
        return admitted

    def ready(self, session_id: str) -> Session:
        """The session's data is stored."""
        return self._store.change(session_id, Session.ready)

    def abandon(self, session_id: str, reason: str) -> Session:
        """The session's data could not be stored."""
        return self._end(session_id, lambda current: current.fail(self._clock(), reason))

    def cancel(self, session_id: str) -> Session:
        """Cancel a session. One that runs is `cancelling` until the next ticks have stopped its job.

        Raises:
            UnknownSessionError: there is none.
            SessionConflictError: it has completed or failed.
        """
        return self._end(session_id, lambda current: current.cancel(self._clock()))

    def tick(self) -> list[AcgsError]:
        """Follow what runs, and start what has its turn. Returns what went wrong and will be tried again."""
        faults: list[AcgsError] = []
        with self._ticking:
            for session in self._store.having(Status.INITIALIZING):
                if self._clock() - session.created_at > INITIALIZING_LIMIT:
                    self._attempt(faults, self._expire, session)
            for session in self._store.having(*HOLDING_A_PLACE):
                self._attempt(faults, self._follow, session)
            while (claimed := self._store.claim(limit=self._limits.running, now=self._clock())) is not None:
                self._attempt(faults, self._submit, claimed)
        return faults

    def _attempt(self, faults: list[AcgsError], act: Callable[[Session], None], session: Session) -> None:
        """One session's trouble must not keep the others waiting."""
        try:
            act(session)
        except AcgsError as error:
            faults.append(error)

    def _expire(self, session: Session) -> None:
        self.abandon(session.id, "the service stopped before the data was stored; send the request again")

    def _follow(self, session: Session) -> None:
        job = self._runner.status(session.id)
        if job is not None and job.phase is not JobPhase.ALIVE:
            self._finish(session, job)
            return
        if session.status is Status.RUNNING and session.deadline is not None and self._clock() >= session.deadline:
            session = self._store.change(session.id, _out_of_time)
        if job is None:
            self._without_job(session)
        elif session.status is Status.CANCELLING:
            self._runner.stop(session.id)
        elif not session.submitted:
            self._store.change(session.id, Session.job_submitted)

    def _without_job(self, session: Session) -> None:
        progress = self._progress(session)
        if session.status is Status.CANCELLING:
            self._end(session.id, lambda current: current.stopped(self._clock(), progress))
        elif session.submitted:
            reason = "the cluster was restarted and no longer knows the job; its last checkpoint is kept"
            self._end(session.id, lambda current: current.fail(self._clock(), reason, progress))
        else:
            self._submit(session)

    def _submit(self, session: Session) -> None:
        self._runner.submit(session.id)
        if self._store.change(session.id, Session.job_submitted).has_ended:
            # A scheduler that is about to be replaced may have ended it meanwhile.
            self._runner.stop(session.id)

    def _finish(self, session: Session, job: Job) -> None:
        progress = self._progress(session)
        reason = self._why_failed(session, job)

        def end(current: Session) -> Session:
            if job.phase is JobPhase.SUCCEEDED:
                return current.complete(self._clock(), progress)
            if current.status is Status.CANCELLING:
                return current.stopped(self._clock(), progress)
            return current.fail(self._clock(), reason, progress)

        self._end(session.id, end)

    def _end(self, session_id: str, step: Callable[[Session], Session]) -> Session:
        ends = False

        def recorded(current: Session) -> Session:
            nonlocal ends
            changed = step(current)
            ends = changed.has_ended and not current.has_ended
            if ends:
                self._observer.record_end(changed)
            return changed

        session = self._store.change(session_id, recorded)
        if ends:
            self._observer.ended(session)
        return session

    def _why_failed(self, session: Session, job: Job) -> str:
        if job.phase is JobPhase.STOPPED:
            return "the job was stopped on the cluster, not through this service; its last checkpoint is kept"
        if job.exit_code == EXIT_BAD_INPUT and (last := self._last_line(session)):
            return last[:_MAX_REASON_CHARS]
        code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
        return f"the job failed{code}; its logs say why"

    def _last_line(self, session: Session) -> str:
        """Empty where the logs cannot be had: that must not keep the session's place taken."""
        try:
            text = self._runner.logs(session.id, _LAST_LINES)
        except UnavailableError:
            return ""
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

    def _progress(self, session: Session) -> Progress | None:
        return read_progress(self._output(session.id))

    def _seconds_to_a_place(self) -> float:
        """Until the first running session must end at the latest, within bounds that make sense to a caller."""
        deadlines = [held.deadline for held in self._store.having(*HOLDING_A_PLACE) if held.deadline is not None]
        shortest, longest = _RETRY_SECONDS
        latest = (min(deadlines) - self._clock()).total_seconds() if deadlines else shortest
        return min(max(latest, shortest), longest)


def _out_of_time(current: Session) -> Session:
    """A session that was cancelled or ended meanwhile stays as it is."""
    try:
        return current.run_out_of_time()
    except SessionConflictError:
        return current
