"""The registry's own journal in the audit log's folder; whoever sequences the log merges it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from acgs.audit.entries import Event
from acgs.audit.journal import Journal
from acgs.audit.layout import AuditDirectory
from acgs.audit.places import place_of


class JournalTrail:
    """`AuditTrail` into a journal of this process."""

    def __init__(self, audit: AuditDirectory) -> None:
        self._audit = audit

    def place(self, event: Event) -> int | None:
        """See `AuditTrail.place`."""
        return place_of(self._audit, event)

    def record(self, events: Sequence[Event]) -> None:
        """See `AuditTrail.record`; on disk when it returns."""
        identity = f"registry-{os.getpid()}-{secrets.token_hex(4)}"
        with Journal(self._audit.journals, identity, durability="fsync") as journal:
            journal.append_batch([event.entry() for event in events])
