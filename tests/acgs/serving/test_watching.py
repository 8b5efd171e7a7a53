"""Replicas follow the table, keep the last one when the store is gone, and say what they hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from acgs.errors import UnavailableError
from acgs.serving.replicas import ReplicaState
from acgs.serving.reporting import Reporter
from acgs.serving.routing import ModelRoute, RoutingTable
from acgs.serving.sql_store import SqlServingStore
from acgs.serving.watching import TableWatch
from acgs.storage.engine import open_engine


class Fickle(SqlServingStore):
    """A real store that can be unplugged."""

    gone = False

    def epoch(self) -> int:
        if self.gone:
            raise UnavailableError("the database is gone")
        return super().epoch()

    def report(self, state: ReplicaState) -> None:
        if self.gone:
            raise UnavailableError("the database is gone")
        super().report(state)


@pytest.fixture
def store(sqlite_engine: Engine) -> Fickle:
    return Fickle(open_engine(sqlite_engine.url.render_as_string()))


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def append(store: Fickle, version: str) -> RoutingTable:
    return store.append({"m": ModelRoute(blue=version)}, actor="mia", reason="r")


def test_a_new_table_is_noticed_and_an_older_one_never_taken(store: Fickle) -> None:
    heard: list[int] = []
    first = append(store, "1.0.0")
    watch = TableWatch(store, lambda table: heard.append(table.epoch), poll_seconds=0.01)
    watch.start()
    assert watch.table == first
    append(store, "2.0.0")
    wait_for(lambda: watch.table.epoch == 2)
    assert watch.offer(RoutingTable(epoch=7))
    assert not watch.offer(RoutingTable(epoch=7))
    assert not watch.offer(first)
    append(store, "3.0.0")
    watch.refresh()
    assert (watch.table.epoch, heard) == (7, [1, 2, 7])
    watch.stop()
    assert not watch.alive()


def test_without_the_store_the_last_table_stays_in_force_and_the_fault_is_shown(store: Fickle) -> None:
    append(store, "1.0.0")
    watch = TableWatch(store, lambda _table: None, poll_seconds=0.01)
    watch.start()
    store.gone = True
    wait_for(lambda: watch.fault == "the database is gone")
    assert watch.table.epoch == 1
    assert watch.offer(RoutingTable(epoch=2))
    store.gone = False
    append(store, "2.0.0")
    append(store, "3.0.0")
    wait_for(lambda: watch.table.epoch == 3 and not watch.fault)
    watch.stop()


def test_nothing_starts_on_a_store_that_cannot_be_read(store: Fickle) -> None:
    store.gone = True
    watch = TableWatch(store, lambda _table: None)
    with pytest.raises(UnavailableError):
        watch.start()
    watch.stop()


def test_a_replica_reports_changes_at_once_and_signs_off(store: Fickle) -> None:
    state = ReplicaState("r1", "ModelRouter", None, 1, 0.0, 50.0)
    chores: list[int] = []
    reporter = Reporter(store, lambda: state, chores=[lambda: chores.append(1)], heartbeat_seconds=3600)
    reporter.start()
    wait_for(lambda: store.replicas(alive_since=0.0) == [state])
    state = replace(state, epoch=2)
    reporter.changed()
    wait_for(lambda: store.replicas(alive_since=0.0) == [state])
    reporter.stop()
    assert store.replicas(alive_since=0.0) == []
    assert chores


def test_reports_go_on_after_the_store_was_gone(store: Fickle) -> None:
    state = ReplicaState("r1", "ModelRouter", None, 1, 0.0, 50.0)
    store.gone = True
    reporter = Reporter(store, lambda: state, heartbeat_seconds=0.01)
    reporter.start()
    time.sleep(0.05)
    assert reporter.alive()
    store.gone = False
    wait_for(lambda: store.replicas(alive_since=0.0) == [state])
    reporter.stop()
