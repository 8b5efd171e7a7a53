"""The serving store in the platform's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine, Insert, Row, Table, delete, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from acgs.errors import InvalidInputError, first_fault
from acgs.serving.replicas import Holding, ReplicaState
from acgs.serving.routing import ModelRoute, RoutingTable, Slot
from acgs.serving.store import RecordedTable, StaleTableError
from acgs.serving.tables import REPLICA_TABLE, ROUTING_TABLE, WINDOW_TABLE
from acgs.serving.windows import OutcomeWindow
from acgs.storage.transactions import reading, writing

_TABLES_SUBJECT: Final = "routing_tables"
_STATES_SUBJECT: Final = "serving_states"
_HOLDINGS: Final = TypeAdapter(tuple[Holding, ...])
_ROUTES: Final = TypeAdapter(dict[str, ModelRoute])


def append_table(
    connection: Connection,
    models: Mapping[str, ModelRoute],
    *,
    actor: str,
    reason: str,
    expected_epoch: int | None = None,
) -> RoutingTable:
    """Append a table within a transaction of the caller's (`acgs.storage.transactions.writing`): both happen, or none.

    Raises:
        StaleTableError: `expected_epoch` is not the epoch in force.
        InvalidInputError: a route or name cannot be used.
    """
    if connection.dialect.name == "postgresql":
        # Held to the end of the transaction, whatever subject it was opened under; readers are not held up.
        connection.execute(text("LOCK TABLE routing_tables IN SHARE ROW EXCLUSIVE MODE"))
    last = select(ROUTING_TABLE.c.epoch, ROUTING_TABLE.c.recorded_at).order_by(ROUTING_TABLE.c.epoch.desc()).limit(1)
    row = connection.execute(last).one_or_none()
    epoch, then = (0, "") if row is None else (row.epoch, row.recorded_at)
    if expected_epoch is not None and expected_epoch != epoch:
        raise StaleTableError(expected_epoch, epoch)
    try:
        table = RoutingTable(epoch=epoch + 1, models=dict(models))
    except ValidationError as error:
        _, fault = first_fault(error, whole="models")
        raise InvalidInputError(f"the routing table cannot be used: {fault}", field="models") from None
    values = {
        "epoch": table.epoch,
        # A clock that was set back must not put a table before the one it replaced.
        "recorded_at": max(_stamp(datetime.now(UTC)), then),
        "actor": actor,
        "reason": reason,
        "body": _ROUTES.dump_json(dict(table.models)).decode(),
    }
    connection.execute(insert(ROUTING_TABLE).values(values))
    return table


class SqlServingStore:
    """`ServingStore` over an engine that `acgs.storage.migrate.upgrade` has prepared. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(
        self, models: Mapping[str, ModelRoute], *, actor: str, reason: str, expected_epoch: int | None = None
    ) -> RoutingTable:
        """See `ServingStore.append`."""
        with writing(self._engine, _TABLES_SUBJECT) as connection:
            return append_table(connection, models, actor=actor, reason=reason, expected_epoch=expected_epoch)

    def epoch(self) -> int:
        """See `ServingStore.epoch`."""
        with reading(self._engine) as connection:
            return connection.execute(select(func.max(ROUTING_TABLE.c.epoch))).scalar() or 0

    def latest(self) -> RoutingTable:
        """See `ServingStore.latest`."""
        with reading(self._engine) as connection:
            rows = select(ROUTING_TABLE).order_by(ROUTING_TABLE.c.epoch.desc()).limit(1)
            row = connection.execute(rows).one_or_none()
        return RoutingTable() if row is None else _recorded(row).table

    def tables(self, since: datetime | None = None, until: datetime | None = None) -> list[RecordedTable]:
        """See `ServingStore.tables`."""
        columns = ROUTING_TABLE.c
        rows = select(ROUTING_TABLE).order_by(columns.epoch)
        if until is not None:
            rows = rows.where(columns.recorded_at <= _stamp(until))
        with reading(self._engine) as connection:
            if since is not None:
                before = select(func.max(columns.epoch)).where(columns.recorded_at <= _stamp(since))
                rows = rows.where(columns.epoch >= (connection.execute(before).scalar() or 0))
            return [_recorded(row) for row in connection.execute(rows)]

    def report(self, state: ReplicaState) -> None:
        """See `ServingStore.report`."""
        values = {
            "replica_id": state.replica_id,
            "deployment": state.deployment,
            "slot": state.slot and state.slot.value,
            "epoch": state.epoch,
            "started_at": state.started_at,
            "heartbeat": state.heartbeat,
            "versions": _HOLDINGS.dump_json(state.versions).decode(),
            "channel": state.channel,
        }
        with writing(self._engine, f"{_STATES_SUBJECT}.{state.replica_id}") as connection:
            statement = _upsert(connection, REPLICA_TABLE).values(values)
            connection.execute(statement.on_conflict_do_update(index_elements=["replica_id"], set_=values))

    def forget(self, replica_id: str) -> None:
        """See `ServingStore.forget`."""
        with writing(self._engine, f"{_STATES_SUBJECT}.{replica_id}") as connection:
            connection.execute(delete(REPLICA_TABLE).where(REPLICA_TABLE.c.replica_id == replica_id))

    def replicas(self, *, alive_since: float) -> list[ReplicaState]:
        """See `ServingStore.replicas`."""
        columns = REPLICA_TABLE.c
        rows = select(REPLICA_TABLE).where(columns.heartbeat >= alive_since).order_by(columns.replica_id)
        with reading(self._engine) as connection:
            return [_state(row) for row in connection.execute(rows)]

    def record(self, windows: Sequence[OutcomeWindow]) -> None:
        """See `ServingStore.record`."""
        if not windows:
            return
        values = [_window_columns(window) for window in windows]
        with writing(self._engine, _STATES_SUBJECT) as connection:
            connection.execute(_upsert(connection, WINDOW_TABLE).on_conflict_do_nothing(), values)

    def windows(self, model: str, *, since: float, version: str | None = None) -> list[OutcomeWindow]:
        """See `ServingStore.windows`."""
        columns = WINDOW_TABLE.c
        rows = select(WINDOW_TABLE).where(columns.model == model, columns.started >= since)
        if version is not None:
            rows = rows.where(columns.version == version)
        with reading(self._engine) as connection:
            found = connection.execute(rows.order_by(columns.started, columns.replica_id, columns.version))
            return [_window(row) for row in found]

    def prune(self, *, before: float) -> int:
        """See `ServingStore.prune`."""
        with writing(self._engine, _STATES_SUBJECT) as connection:
            dropped = connection.execute(delete(WINDOW_TABLE).where(WINDOW_TABLE.c.started < before)).rowcount
            dropped += connection.execute(delete(REPLICA_TABLE).where(REPLICA_TABLE.c.heartbeat < before)).rowcount
        return dropped


def _upsert(connection: Connection, table: Table) -> Any:
    """An insert that may say what happens to a row that is there; both dialects spell it alike."""
    made: Insert = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    return made


def _stamp(moment: datetime) -> str:
    """UTC with all six digits, so that text sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _recorded(row: Row[Any]) -> RecordedTable:
    table = RoutingTable(epoch=row.epoch, models=_ROUTES.validate_json(row.body))
    return RecordedTable(table, datetime.fromisoformat(row.recorded_at), row.actor, row.reason)


def _state(row: Row[Any]) -> ReplicaState:
    values = dict(row._mapping)
    values["slot"] = values["slot"] and Slot(values["slot"])
    values["versions"] = _HOLDINGS.validate_json(values["versions"])
    return ReplicaState(**values)


def _window_columns(window: OutcomeWindow) -> dict[str, Any]:
    values: dict[str, Any] = {column.name: getattr(window, column.name) for column in WINDOW_TABLE.columns}
    values["slot"] = window.slot.value
    values["latencies"] = orjson.dumps([round(seconds, 6) for seconds in window.latencies]).decode()
    return values


def _window(row: Row[Any]) -> OutcomeWindow:
    values = dict(row._mapping)
    values["slot"] = Slot(values["slot"])
    values["latencies"] = tuple(orjson.loads(values["latencies"]))
    return OutcomeWindow(**values)
