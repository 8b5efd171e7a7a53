"""The cluster as sessions see it: something that runs one job for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class JobPhase(StrEnum):
    """Where a job stands."""

    ALIVE = "alive"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Job:
    """What the cluster says about a job; `exit_code` is None where its process never ended by itself."""

    phase: JobPhase
    exit_code: int | None = None


class JobRunner(Protocol):
    """Runs jobs. All methods raise `UnavailableError` if the cluster does not answer."""

    def submit(self, session_id: str) -> None:
        """Start the job of a session. A second submission of the same session never starts a second job."""
        ...

    def status(self, session_id: str) -> Job | None:
        """The session's job; None if the cluster says that it has none."""
        ...

    def stop(self, session_id: str) -> None:
        """Tell the job to end, and make it end soon after; a job that has ended is left as it is."""
        ...

    def logs(self, session_id: str, lines: int) -> str:
        """The last lines of what the job wrote."""
        ...
