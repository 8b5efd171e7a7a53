"""Asking the audit log what happened: events by subject, kind, actor and time. Each that is told fits its leaf hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from acgs.audit.entries import Event, parse_entry
from acgs.audit.log import AuditLog
from acgs.audit.merkle import leaf_hash
from acgs.errors import IntegrityError, InvalidInputError

_MAY_BE_AN_EVENT: Final = b'"type":"event"'
"""In the canonical JSON of every event; most entries are receipts, and need not be parsed to be passed over."""


class Found(NamedTuple):
    """An event and its place in the log."""

    position: int
    event: Event


@dataclass(frozen=True, slots=True)
class Question:
    """What an event must be; None: anything.

    A kind stands for those under it, too ('release' for 'release.promoted'), and a model for all its versions. Events
    occurred at `since` or later, and before `until`.
    """

    subject: str | None = None
    model: str | None = None
    kind: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, event: Event) -> bool:
        """Whether it is about this event."""
        occurred = datetime.fromisoformat(event.occurred_at)
        return (
            self.subject in (None, event.subject)
            and self.model in (None, event.subject.partition("@")[0])
            and (self.kind is None or f"{event.kind}.".startswith(f"{self.kind}."))
            and self.actor in (None, event.actor)
            and (self.since is None or occurred >= self.since)
            and (self.until is None or occurred < self.until)
        )


def ask(log: AuditLog, question: Question, start: int = 0) -> Iterator[Found]:
    """The events that fit, in the order of the log, from the entry `start` on.

    Raises:
        IntegrityError: an entry that would be told was altered, or is none.
    """
    for index, entry in enumerate(log.entries(start), start):
        if _MAY_BE_AN_EVENT not in entry:
            continue
        try:
            event = parse_entry(entry)
        except InvalidInputError as error:
            raise IntegrityError(f"entry {index}: {error.message}") from error
        if isinstance(event, Event) and question.fits(event):
            if leaf_hash(entry) != log.node(0, index):
                raise IntegrityError(f"entry {index} does not fit its leaf hash: it was altered")
            yield Found(index, event)


def moment(text: str, field: str) -> datetime:
    """A date or a time, in UTC unless it says otherwise.

    Raises:
        InvalidInputError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(
            f"{field} is a date or time as in 2026-11-30 or 2026-11-30T14:00:00Z", field=field
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
