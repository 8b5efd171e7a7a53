"""Where sessions are kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from acgs.errors import AcgsError
from acgs.learning.sessions.session import Session, Status


class UnknownSessionError(AcgsError):
    """There is no such session, or the caller may not know of it."""

    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such training session", field="training_id")


class SessionStore(Protocol):
    """Sessions by id, on disk when a method returns. Methods that change are atomic against each other.

    All raise `UnavailableError` if the store cannot be used.
    """

    def admit(self, session: Session, *, capacity: int) -> Session | None:
        """Add a session with the next number, unless `capacity` sessions have not ended: then None."""
        ...

    def claim(self, *, limit: int, now: datetime) -> Session | None:
        """Start the queued session with the lowest number, unless `limit` sessions hold a place; None if nothing."""
        ...

    def change(self, session_id: str, step: Callable[[Session], Session]) -> Session:
        """Replace a session by what `step` makes of it; no other change comes between.

        Raises `UnknownSessionError`, and whatever `step` raises; then nothing is changed.
        """
        ...

    def get(self, session_id: str) -> Session:
        """One session. Raises `UnknownSessionError`."""
        ...

    def having(self, *statuses: Status) -> list[Session]:
        """All sessions in one of the states, by number."""
        ...

    def page(self, *, subject: str | None, before: int | None, limit: int) -> list[Session]:
        """The latest sessions (of `subject`, if given), those with a number below `before` if given; latest first."""
        ...
