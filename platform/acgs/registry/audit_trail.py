"""The registry's own journal in the audit log's folder; whoever sequences the log merges it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from acgs.audit.asking import Question, ask
from acgs.audit.entries import Event
from acgs.audit.journal import Journal
from acgs.audit.layout import AuditDirectory
from acgs.audit.log import AuditLog, read_state
from acgs.audit.places import place_of


class JournalTrail:
    """`AuditTrail` into a journal of this process."""

    def __init__(self, audit: AuditDirectory) -> None:
        self._audit = audit
        self._read: dict[tuple[str, str], tuple[int, Event | None]] = {}

    def place(self, event: Event) -> int | None:
        """See `AuditTrail.place`."""
        return place_of(self._audit, event)

    def last(self, subject: str, kind: str) -> Event | None:
        """See `AuditTrail.last`. The log is read once, and after that only what came to it."""
        state = read_state(self._audit.log)
        if state is None:
            return None
        log = AuditLog(self._audit.log, state)
        start, found = self._read.get((subject, kind), (0, None))
        if start > log.size:
            start, found = 0, None
        for told in ask(log, Question(subject=subject, kind=kind), start):
            found = told.event
        self._read[subject, kind] = (log.size, found)
        return found

    def record(self, events: Sequence[Event]) -> None:
        """See `AuditTrail.record`; on disk when it returns."""
        identity = f"registry-{os.getpid()}-{secrets.token_hex(4)}"
        with Journal(self._audit.journals, identity, durability="fsync") as journal:
            journal.append_batch([event.entry() for event in events])
