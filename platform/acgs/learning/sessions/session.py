"""A training session and the steps it may take.

    initializing -> queued -> running -> completed | failed
          |            |         +-> cancelling -> cancelled | failed | completed
          +------------+-> cancelled

`initializing`: accepted, its data is being stored. `running` begins when the session gets one of the places; its job
is submitted right after. `cancelling` keeps the place until the job has really ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Self

from acgs.errors import AcgsError
from acgs.learning.sessions.progress import Progress


class Status(StrEnum):
    """Where a session stands."""

    INITIALIZING = "initializing"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


WAITING: Final = (Status.INITIALIZING, Status.QUEUED)
HOLDING_A_PLACE: Final = (Status.RUNNING, Status.CANCELLING)
ENDED: Final = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)

_NEXT: Final = {
    Status.INITIALIZING: {Status.QUEUED, Status.FAILED, Status.CANCELLED},
    Status.QUEUED: {Status.RUNNING, Status.CANCELLED},
    Status.RUNNING: {Status.CANCELLING, Status.COMPLETED, Status.FAILED},
    Status.CANCELLING: {Status.COMPLETED, Status.FAILED, Status.CANCELLED},
}

StopReason = Literal["cancelled", "time"]


class SessionConflictError(AcgsError):
    """The session's state does not allow the step."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Session:
    """One training run as its owner sees it. Times are UTC; `number` is the order of admission."""

    id: str
    subject: str
    model_name: str
    model_id: str
    max_training_seconds: float
    created_at: datetime
    target_epsilon: float | None = None
    delta: float | None = None
    number: int = 0
    status: Status = Status.INITIALIZING
    submitted: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stop_reason: StopReason | None = None
    error_message: str | None = None
    progress: Progress | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.status in ENDED

    @property
    def deadline(self) -> datetime | None:
        """When its time is up; None before it runs."""
        return None if self.started_at is None else self.started_at + timedelta(seconds=self.max_training_seconds)

    def ready(self) -> Self:
        """Its data is stored: it waits for a place."""
        return self._to(Status.QUEUED)

    def start(self, now: datetime) -> Self:
        """It gets a place."""
        return replace(self._to(Status.RUNNING), started_at=now)

    def job_submitted(self) -> Self:
        """Its job is known to the cluster."""
        return replace(self, submitted=True)

    def cancel(self, now: datetime) -> Self:
        """What its owner's wish to cancel makes of it; asking twice changes nothing.

        Raises:
            SessionConflictError: it has completed or failed.
        """
        if self.status in (Status.CANCELLING, Status.CANCELLED):
            return self
        if self.status in WAITING:
            return replace(self._to(Status.CANCELLED), ended_at=now, stop_reason="cancelled")
        return replace(self._to(Status.CANCELLING), stop_reason="cancelled")

    def run_out_of_time(self) -> Self:
        """Its time is up: the job is to be stopped."""
        return replace(self._to(Status.CANCELLING), stop_reason="time")

    def complete(self, now: datetime, progress: Progress | None) -> Self:
        """Its job ended well."""
        return replace(self._to(Status.COMPLETED), ended_at=now, progress=progress)

    def fail(self, now: datetime, reason: str, progress: Progress | None = None) -> Self:
        """It ended without a result."""
        return replace(self._to(Status.FAILED), ended_at=now, error_message=reason, progress=progress)

    def stopped(self, now: datetime, progress: Progress | None) -> Self:
        """Its job is gone after it was told to stop: cancelled, or failed where its time was up."""
        if self.stop_reason == "time":
            limit = f"{self.max_training_seconds:g}"
            return self.fail(now, f"stopped at max_training_time, {limit} s; its last checkpoint is kept", progress)
        return replace(self._to(Status.CANCELLED), ended_at=now, progress=progress)

    def _to(self, status: Status) -> Self:
        if status not in _NEXT.get(self.status, set()):
            raise SessionConflictError(f"the session is {self.status}; it cannot become {status}")
        return replace(self, status=status)
