"""What has become of versions: one append-only list of events, from which the audit log and webhooks are fed.

An event is written in the transaction that makes the change, and carried into the audit log after it; one that a crash
kept from there is carried later. So no change is without its event, and no event is in the log twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import uuid4

from pydantic import JsonValue

from acgs.audit.entries import Event
from acgs.audit.receipts import utc_instant


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """`kind` happened to `name` at `version` through `actor`. `number` counts all events from 1 once it is kept."""

    kind: str
    actor: str
    name: str
    version: str | None = None
    details: dict[str, JsonValue] = field(default_factory=dict)
    occurred_at: str = field(default_factory=utc_instant)
    event_id: str = field(default_factory=lambda: str(uuid4()))
    number: int = 0
    audited: bool = False

    @property
    def subject(self) -> str:
        """What it happened to."""
        return f"{self.name}@{self.version}" if self.version else self.name

    def entry(self) -> Event:
        """The event as the audit log has it: the same identifier, time and details."""
        return Event(
            event_id=self.event_id,
            kind=self.kind,
            actor=self.actor,
            subject=self.subject,
            details=self.details,
            occurred_at=self.occurred_at,
        )


class EventLog(Protocol):
    """The list of events."""

    def append(self, event: LifecycleEvent) -> LifecycleEvent:
        """Keep an event of its own."""

    def events(
        self, *, name: str | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int | None = None
    ) -> list[LifecycleEvent]:
        """Events with a number above `after`, in order."""

    def unaudited(self, limit: int) -> list[LifecycleEvent]:
        """Events that the audit log may not have yet."""

    def mark_audited(self, numbers: Sequence[int]) -> None:
        """The audit log has them."""


class AuditTrail(Protocol):
    """The way into the audit log, and where what went there stands."""

    def place(self, event: Event) -> int | None:
        """The event's index in the log; None while the log does not hold it.

        Raises:
            IntegrityError: the log tells something else of it.
        """

    def last(self, subject: str, kind: str) -> Event | None:
        """The last event of a subject and kind that the log holds; None where there is none.

        Raises:
            IntegrityError: the log was altered there.
        """

    def record(self, events: Sequence[Event]) -> None:
        """Write events.

        Raises:
            AuditWriteError: they could not be written.
        """


_BATCH = 256


def carry_over(log: EventLog, trail: AuditTrail) -> int:
    """Take what the audit log lacks into it. The log drops what it gets twice, so a crash in between does no harm.

    Returns:
        How many events.

    Raises:
        AuditWriteError: the audit log cannot be written; the events stay on the list.
    """
    carried = 0
    while waiting := log.unaudited(_BATCH):
        trail.record([event.entry() for event in waiting])
        log.mark_audited([event.number for event in waiting])
        carried += len(waiting)
    return carried


def check_details(event: LifecycleEvent) -> LifecycleEvent:
    """The event, if the audit log can take it.

    Raises:
        InvalidInputError: its details have no canonical form or are too long.
    """
    event.entry().entry()
    return event
