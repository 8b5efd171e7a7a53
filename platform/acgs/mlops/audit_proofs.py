"""Proofs that the audit log holds what the database tells."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from acgs.audit.entry_index import EntryIndex
from acgs.audit.log import AuditLog
from acgs.audit.proofs import prove_inclusion
from acgs.errors import IntegrityError
from acgs.registry.lifecycle import LifecycleEvent


class EventProver:
    """Looks events up in one log."""

    def __init__(self, folder: Path) -> None:
        self._log = AuditLog.open(folder)
        self._index = EntryIndex(folder)
        self._index.catch_up(self._log)

    def prove(self, event: LifecycleEvent) -> str | None:
        """The proof (C2SP tlog-proof); None while the log does not hold the event.

        Raises:
            IntegrityError: the log tells something else of it than the database.
        """
        position = self._index.by_name(event.event_id)
        if position is None:
            return None
        if self._log.entry(position) != event.entry().entry():
            raise IntegrityError(f"the audit log tells another story of event {event.event_id} than the database")
        return prove_inclusion(self._log, position).text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()
