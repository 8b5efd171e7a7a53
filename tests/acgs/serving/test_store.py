"""The contract of serving stores, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from acgs.errors import InvalidInputError, UnavailableError
from acgs.serving.history import live_spans
from acgs.serving.replicas import Holding, Phase, ReplicaState
from acgs.serving.routing import ModelRoute, RoutingTable, Slot
from acgs.serving.sql_store import SqlServingStore, append_table
from acgs.serving.store import ServingStore, StaleTableError
from acgs.serving.windows import OutcomeWindow
from acgs.storage.engine import open_engine
from acgs.storage.transactions import writing

ROUTE = ModelRoute(blue="1.0.0", green="2.0.0", live=Slot.GREEN, percent=10, shadow=True)


@pytest.fixture
def store(engine: Engine) -> ServingStore:
    return SqlServingStore(engine)


def append(store: ServingStore, expected: int | None = None, **routes: ModelRoute) -> RoutingTable:
    return store.append(routes, actor="mia", reason="because", expected_epoch=expected)


def window(**fields: object) -> OutcomeWindow:
    base = OutcomeWindow("r1", "triage", "1.0.0", Slot.BLUE, 100.0, 1.0, 3, 1, (0.25, 0.5), 2, 1, 1)
    return replace(base, **fields)  # type: ignore[arg-type]


def test_before_the_first_table_there_is_the_empty_one(store: ServingStore) -> None:
    assert (store.epoch(), store.latest(), store.tables()) == (0, RoutingTable(), [])


def test_a_table_is_found_again_as_it_was_also_by_others(store: ServingStore, engine: Engine) -> None:
    written = append(store, triage=ROUTE)
    assert (written.epoch, written.models) == (1, {"triage": ROUTE})
    other = open_engine(engine.url.render_as_string(hide_password=False))
    assert SqlServingStore(other).latest() == written == store.latest()
    other.dispose()
    recorded = store.tables()[0]
    assert (recorded.table, recorded.actor, recorded.reason) == (written, "mia", "because")


def test_a_change_based_on_an_old_table_is_refused_and_changes_nothing(store: ServingStore) -> None:
    append(store, expected=0, triage=ROUTE)
    with pytest.raises(StaleTableError, match="at epoch 1, not 0") as caught:
        append(store, expected=0)
    assert caught.value.field == "expected_epoch"
    assert store.epoch() == 1
    assert append(store, expected=1).epoch == 2


def test_writers_that_race_get_epochs_one_after_the_other(store: ServingStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        epochs = [table.epoch for table in pool.map(lambda _: append(store, triage=ROUTE), range(12))]
    assert sorted(epochs) == list(range(1, 13))


def test_of_writers_that_expect_the_same_epoch_one_wins(store: ServingStore) -> None:
    def attempt(_: int) -> bool:
        try:
            append(store, expected=0, triage=ROUTE)
        except StaleTableError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert store.epoch() == 1


def test_a_table_and_another_record_are_written_together_or_not_at_all(store: ServingStore, engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(engine, "release") as connection:
        append_table(connection, {"triage": ROUTE}, actor="mia", reason="r")
        raise ZeroDivisionError
    assert store.epoch() == 0
    with writing(engine, "release") as connection:
        append_table(connection, {"triage": ROUTE}, actor="mia", reason="r", expected_epoch=0)
    assert store.epoch() == 1


def test_a_name_that_cannot_be_served_is_refused(store: ServingStore) -> None:
    with pytest.raises(InvalidInputError, match="health"):
        append(store, health=ROUTE)
    assert store.epoch() == 0


@pytest.mark.parametrize("statement", ["UPDATE routing_tables SET actor = 'eve'", "DELETE FROM routing_tables"])
def test_the_database_itself_refuses_to_change_history(store: ServingStore, engine: Engine, statement: str) -> None:
    written = append(store, triage=ROUTE)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    assert store.latest() == written


def test_tables_of_a_span_begin_with_the_one_in_force_at_its_start(store: ServingStore) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        append(store, triage=ModelRoute(blue=version))
    times = [recorded.recorded_at for recorded in store.tables()]
    assert times == sorted(times)
    assert times[0].tzinfo is not None
    between = times[1] + (times[2] - times[1]) / 2
    assert [item.table.epoch for item in store.tables(since=between)] == [2, 3]
    assert [item.table.epoch for item in store.tables(until=between)] == [1, 2]
    assert [item.table.epoch for item in store.tables(since=between, until=between)] == [2]
    assert [item.table.epoch for item in store.tables(since=times[0] - timedelta(days=1))] == [1, 2, 3]
    assert store.tables(until=times[0] - timedelta(days=1)) == []


def test_what_was_live_when_is_read_from_the_tables(store: ServingStore) -> None:
    other = ModelRoute(blue="9.0.0")
    routes = [
        ModelRoute(blue="1.0.0"),
        ModelRoute(blue="1.0.0", green="2.0.0"),
        ModelRoute(blue="1.0.0", green="2.0.0", live=Slot.GREEN),
    ]
    for route in routes:
        append(store, triage=route, other=other)
    append(store, triage=routes[-1], other=ModelRoute(blue="9.0.1"))
    append(store, other=other)
    spans = live_spans(store.tables(), "triage")
    assert [(span.version, span.other, span.epoch) for span in spans] == [
        ("1.0.0", None, 1),
        ("1.0.0", "2.0.0", 2),
        ("2.0.0", "1.0.0", 3),
    ]
    assert [span.ends for span in spans] == [spans[1].begins, spans[2].begins, store.tables()[-1].recorded_at]
    assert live_spans(store.tables(), "nobody") == []


def test_the_last_word_of_a_replica_counts_until_it_falls_silent_or_signs_off(store: ServingStore) -> None:
    held = Holding(model="triage", version="1.0.0", phase=Phase.READY, load_seconds=0.5)
    failed = Holding(model="other", version="2.0.0", phase=Phase.FAILED, reason="no such folder")
    slot = ReplicaState("b1", "SlotBlue", Slot.BLUE, 3, 90.0, 100.0, (held, failed), "/tmp/socket")
    router = ReplicaState("r1", "ModelRouter", None, 3, 91.0, 105.0)
    store.report(replace(slot, epoch=1, versions=()))
    store.report(slot)
    store.report(router)
    assert store.replicas(alive_since=99.0) == [slot, router]
    assert store.replicas(alive_since=101.0) == [router]
    store.forget("r1")
    assert store.replicas(alive_since=0.0) == [slot]


def test_windows_are_found_by_model_version_and_time_and_written_once(store: ServingStore) -> None:
    first, later = window(), window(started=101.0, latencies=())
    other = window(version="2.0.0", slot=Slot.GREEN)
    store.record([first, other])
    store.record([later, first])
    store.record([])
    assert store.windows("triage", since=0.0, version="1.0.0") == [first, later]
    assert store.windows("triage", since=100.5) == [later]
    assert set(store.windows("triage", since=0.0)) == {first, later, other}
    assert store.windows("nobody", since=0.0) == []


def test_pruning_drops_old_windows_and_silent_replicas_and_no_table(store: ServingStore) -> None:
    append(store, triage=ROUTE)
    store.record([window(), window(started=200.0)])
    store.report(ReplicaState("old", "SlotBlue", Slot.BLUE, 1, 0.0, 100.0))
    store.report(ReplicaState("new", "SlotBlue", Slot.BLUE, 1, 0.0, 200.0))
    assert store.prune(before=150.0) == 2
    assert [found.started for found in store.windows("triage", since=0.0)] == [200.0]
    assert [found.replica_id for found in store.replicas(alive_since=0.0)] == ["new"]
    assert store.epoch() == 1


def test_a_clock_set_back_does_not_reorder_history(engine: Engine, store: ServingStore) -> None:
    append(store, triage=ROUTE)
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="microseconds")
    with writing(engine, "test") as connection:
        connection.execute(text("INSERT INTO routing_tables VALUES (2, :then, 'mia', 'r', '{}')"), {"then": future})
    append(store, triage=ROUTE)
    times = [recorded.recorded_at for recorded in store.tables()]
    assert times == sorted(times)


def test_a_database_that_is_gone_is_named(sqlite_engine: Engine) -> None:
    with writing(sqlite_engine, "test") as connection:
        connection.exec_driver_sql("DROP TABLE routing_tables")
    with pytest.raises(UnavailableError, match="cannot be used"):
        SqlServingStore(sqlite_engine).latest()
