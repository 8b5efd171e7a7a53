"""Where in the log an event stands."""

from __future__ import annotations

from acgs.audit.entries import Event
from acgs.audit.entry_index import find_entry
from acgs.audit.layout import AuditDirectory
from acgs.audit.log import AuditLog, read_state
from acgs.errors import IntegrityError


def place_of(audit: AuditDirectory, event: Event) -> int | None:
    """The event's index; None while the log does not hold it.

    Raises:
        IntegrityError: the log tells something else of it.
    """
    state = read_state(audit.log)
    if state is None:
        return None
    log = AuditLog(audit.log, state)
    place = find_entry(log, event.event_id)
    if place is not None and log.entry(place) != event.entry():
        raise IntegrityError(f"the audit log tells another story of event {event.event_id} than the database")
    return place
