"""The session store in the platform's database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from acgs.learning.sessions.progress import Progress
from acgs.learning.sessions.session import ENDED, HOLDING_A_PLACE, Session, Status
from acgs.learning.sessions.session_table import SESSION_TABLE
from acgs.learning.sessions.store import UnknownSessionError
from acgs.storage.transactions import reading, writing

_SUBJECT: Final = "training_sessions"
_TABLE = SESSION_TABLE.c
_TIMES: Final = ("created_at", "started_at", "ended_at")


class SqlSessionStore:
    """`SessionStore` over an engine that `acgs.storage.migrate.upgrade` has prepared. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def admit(self, session: Session, *, capacity: int) -> Session | None:
        """See `SessionStore.admit`."""
        with writing(self._engine, _SUBJECT) as connection:
            if _count(connection, *(status for status in Status if status not in ENDED)) >= capacity:
                return None
            latest = connection.execute(select(func.max(_TABLE.number))).scalar() or 0
            admitted = replace(session, number=latest + 1)
            connection.execute(insert(SESSION_TABLE).values(_columns(admitted)))
        return admitted

    def claim(self, *, limit: int, now: datetime) -> Session | None:
        """See `SessionStore.claim`."""
        with writing(self._engine, _SUBJECT) as connection:
            if _count(connection, *HOLDING_A_PLACE) >= limit:
                return None
            queued = select(SESSION_TABLE).where(_TABLE.status == Status.QUEUED).order_by(_TABLE.number).limit(1)
            row = connection.execute(queued).one_or_none()
            if row is None:
                return None
            started = _session(row).start(now)
            _write(connection, started)
        return started

    def change(self, session_id: str, step: Callable[[Session], Session]) -> Session:
        """See `SessionStore.change`."""
        with writing(self._engine, _SUBJECT) as connection:
            current = _one(connection, session_id)
            changed = step(current)
            if changed != current:
                _write(connection, changed)
        return changed

    def get(self, session_id: str) -> Session:
        """See `SessionStore.get`."""
        with reading(self._engine) as connection:
            return _one(connection, session_id)

    def having(self, *statuses: Status) -> list[Session]:
        """See `SessionStore.having`."""
        with reading(self._engine) as connection:
            rows = select(SESSION_TABLE).where(_TABLE.status.in_(statuses)).order_by(_TABLE.number)
            return [_session(row) for row in connection.execute(rows)]

    def page(self, *, subject: str | None, before: int | None, limit: int) -> list[Session]:
        """See `SessionStore.page`."""
        rows = select(SESSION_TABLE).order_by(_TABLE.number.desc()).limit(limit)
        if subject is not None:
            rows = rows.where(_TABLE.subject == subject)
        if before is not None:
            rows = rows.where(_TABLE.number < before)
        with reading(self._engine) as connection:
            return [_session(row) for row in connection.execute(rows)]


def _count(connection: Connection, *statuses: Status) -> int:
    counted = select(func.count()).select_from(SESSION_TABLE).where(_TABLE.status.in_(statuses))
    return connection.execute(counted).scalar_one()


def _one(connection: Connection, session_id: str) -> Session:
    row = connection.execute(select(SESSION_TABLE).where(_TABLE.id == session_id)).one_or_none()
    if row is None:
        raise UnknownSessionError
    return _session(row)


def _write(connection: Connection, session: Session) -> None:
    connection.execute(update(SESSION_TABLE).where(_TABLE.id == session.id).values(_columns(session)))


def _columns(session: Session) -> dict[str, Any]:
    values = {column.name: getattr(session, column.name) for column in SESSION_TABLE.columns}
    for name in _TIMES:
        values[name] = values[name] and values[name].isoformat()
    values["status"] = session.status.value
    values["progress"] = session.progress and session.progress.model_dump_json()
    return values


def _session(row: Row[Any]) -> Session:
    values = dict(row._mapping)
    for name in _TIMES:
        values[name] = values[name] and datetime.fromisoformat(values[name])
    values["status"] = Status(values["status"])
    values["progress"] = values["progress"] and Progress.model_validate_json(values["progress"])
    return Session(**values)
