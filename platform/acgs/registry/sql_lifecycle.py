"""The list of lifecycle events in the platform's database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from acgs.audit.receipts import utc_instant
from acgs.registry.lifecycle import LifecycleEvent, check_details
from acgs.registry.tables import EVENT_TABLE
from acgs.storage.transactions import reading, writing

SUBJECT: Final = "registry"
"""Writers of versions, releases and their events stand in one queue."""
_EVENT = EVENT_TABLE.c


def append_event(connection: Connection, event: LifecycleEvent) -> LifecycleEvent:
    """Keep an event within a transaction of `writing(engine, SUBJECT)`, beside the change it tells of.

    Its details name the event before it of the same name (`previous`), so that a missing one is noticed.

    Raises:
        InvalidInputError: the audit log could not take it.
    """
    before = select(_EVENT.event_id).where(_EVENT.name == event.name).order_by(_EVENT.number.desc()).limit(1)
    event = replace(event, details={**event.details, "previous": connection.execute(before).scalar()})
    check_details(event)
    number = (connection.execute(select(func.max(_EVENT.number))).scalar() or 0) + 1
    connection.execute(
        insert(EVENT_TABLE).values(
            number=number,
            event_id=event.event_id,
            kind=event.kind,
            actor=event.actor,
            name=event.name,
            version=event.version,
            details=json.dumps(event.details, ensure_ascii=False, sort_keys=True, allow_nan=False),
            occurred_at=event.occurred_at,
        )
    )
    return replace(event, number=number)


def events_after(connection: Connection, number: int, *, limit: int) -> list[LifecycleEvent]:
    """Events with a higher number, in order, within a transaction."""
    query = select(EVENT_TABLE).where(_EVENT.number > number).order_by(_EVENT.number).limit(limit)
    return [_event(row) for row in connection.execute(query)]


class SqlEventLog:
    """`EventLog` over an engine that `acgs.storage.migrate.upgrade` has prepared. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, event: LifecycleEvent) -> LifecycleEvent:
        """See `EventLog.append`."""
        with writing(self._engine, SUBJECT) as connection:
            return append_event(connection, event)

    def events(
        self, *, name: str | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int | None = None
    ) -> list[LifecycleEvent]:
        """See `EventLog.events`."""
        query = select(EVENT_TABLE).where(_EVENT.number > after).order_by(_EVENT.number).limit(limit)
        if name is not None:
            query = query.where(_EVENT.name == name)
        if kinds:
            query = query.where(_EVENT.kind.in_(kinds))
        with reading(self._engine) as connection:
            return [_event(row) for row in connection.execute(query)]

    def unaudited(self, limit: int) -> list[LifecycleEvent]:
        """See `EventLog.unaudited`."""
        query = select(EVENT_TABLE).where(_EVENT.audited_at.is_(None)).order_by(_EVENT.number).limit(limit)
        with reading(self._engine) as connection:
            return [_event(row) for row in connection.execute(query)]

    def mark_audited(self, numbers: Sequence[int]) -> None:
        """See `EventLog.mark_audited`."""
        with writing(self._engine, SUBJECT) as connection:
            connection.execute(
                update(EVENT_TABLE)
                .where(_EVENT.number.in_(numbers), _EVENT.audited_at.is_(None))
                .values(audited_at=utc_instant())
            )


def _event(row: Row[Any]) -> LifecycleEvent:
    return LifecycleEvent(
        kind=row.kind,
        actor=row.actor,
        name=row.name,
        version=row.version,
        details=json.loads(row.details),
        occurred_at=row.occurred_at,
        event_id=row.event_id,
        number=row.number,
        audited=row.audited_at is not None,
    )
