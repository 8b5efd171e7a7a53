"""Lifecycle events, and how they come into the audit log."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine

from acgs.audit.entries import Event
from acgs.errors import AuditWriteError, InvalidInputError
from acgs.registry.lifecycle import LifecycleEvent, carry_over
from acgs.registry.sql_lifecycle import SqlEventLog


class Trail:
    """An audit log that can fail."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken = False

    def record(self, events: Sequence[Event]) -> None:
        if self.broken:
            raise AuditWriteError("full")
        self.events += events


def test_events_are_numbered_in_the_order_in_which_they_came(engine: Engine) -> None:
    log = SqlEventLog(engine)
    first = log.append(LifecycleEvent("model.version.created", "mia", "triage", "1.0.0", {"ä": [1, {"b": None}]}))
    second = log.append(LifecycleEvent("release.promoted", "noor", "intake", "2.0.0"))
    assert (first.number, second.number) == (1, 2)
    assert log.events() == [first, second]
    assert log.events(name="intake") == [second]
    assert log.events(kinds=["model.version.created"]) == [first]
    assert log.events(after=1, limit=1) == [second]


def test_every_event_comes_into_the_audit_log_once(engine: Engine) -> None:
    log, trail = SqlEventLog(engine), Trail()
    kept = [log.append(LifecycleEvent("release.promoted", "mia", "triage", f"1.0.{n}")) for n in range(3)]
    assert carry_over(log, trail) == 3
    assert carry_over(log, trail) == 0
    assert [event.event_id for event in trail.events] == [event.event_id for event in kept]
    assert all(event.audited for event in log.events())


def test_what_the_audit_log_could_not_take_waits_for_it(engine: Engine) -> None:
    log, trail = SqlEventLog(engine), Trail()
    log.append(LifecycleEvent("release.promoted", "mia", "triage", "1.0.0"))
    trail.broken = True
    with pytest.raises(AuditWriteError):
        carry_over(log, trail)
    trail.broken = False
    assert carry_over(log, trail) == 1


def test_an_event_that_the_audit_log_could_never_take_is_refused(engine: Engine) -> None:
    log = SqlEventLog(engine)
    with pytest.raises(InvalidInputError):
        log.append(LifecycleEvent("release.promoted", "mia", "triage", "1.0.0", {"note": "x" * 70_000}))
    with pytest.raises(InvalidInputError):
        log.append(LifecycleEvent("release.promoted", "mia", "triage", "1.0.0", {"n": float("nan")}))
    assert log.events() == []
