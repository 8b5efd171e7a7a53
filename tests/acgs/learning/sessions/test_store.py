"""The contract of session stores, on both databases."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from acgs.errors import UnavailableError
from acgs.learning.sessions.progress import Progress
from acgs.learning.sessions.session import Session, Status
from acgs.learning.sessions.sql_store import SqlSessionStore
from acgs.learning.sessions.store import SessionStore, UnknownSessionError
from acgs.storage.engine import open_engine
from tests.acgs.learning.sessions.conftest import START, MakeSession


def admit(store: SessionStore, session: Session, capacity: int = 1000) -> Session:
    admitted = store.admit(session, capacity=capacity)
    assert admitted is not None
    return admitted


def test_what_was_admitted_is_found_again_with_every_field(store: SessionStore, make_session: MakeSession) -> None:
    session = admit(store, make_session(target_epsilon=4.0, delta=1e-6))
    assert store.get(session.id) == session
    progress = Progress(phase="sft", progress=0.5, step=3, steps=6, loss=1.25, compliance=0.9, updated_at=START)
    rich = store.change(
        session.id,
        lambda current: replace(current.ready().start(START).job_submitted().run_out_of_time(), progress=progress),
    )
    assert store.get(session.id) == rich
    done = store.change(session.id, lambda current: current.stopped(START + timedelta(hours=1), progress))
    assert store.get(session.id) == done
    assert done.error_message


def test_another_process_finds_the_same(store: SessionStore, engine: Engine, make_session: MakeSession) -> None:
    session = admit(store, make_session())
    other = open_engine(engine.url.render_as_string(hide_password=False))
    assert SqlSessionStore(other).get(session.id) == session
    other.dispose()


def test_beyond_its_capacity_nothing_is_stored_until_a_session_ends(
    store: SessionStore, make_session: MakeSession
) -> None:
    first, refused = admit(store, make_session()), make_session()
    admit(store, make_session())
    assert store.admit(refused, capacity=2) is None
    with pytest.raises(UnknownSessionError):
        store.get(refused.id)
    store.change(first.id, lambda current: current.cancel(START))
    admit(store, refused, capacity=2)


def test_sessions_start_in_the_order_they_came_and_only_when_ready(
    store: SessionStore, make_session: MakeSession
) -> None:
    first, second, third = (admit(store, make_session()) for _ in range(3))
    for session in (third, second):
        store.change(session.id, Session.ready)
    started = [store.claim(limit=9, now=START) for _ in range(3)]
    assert [session and session.id for session in started] == [second.id, third.id, None]
    assert started[0] is not None
    assert (started[0].status, started[0].started_at) == (Status.RUNNING, START)
    assert store.get(first.id).status is Status.INITIALIZING


def test_no_more_than_the_limit_hold_a_place_and_cancelling_ones_do(
    store: SessionStore, make_session: MakeSession
) -> None:
    for _ in range(3):
        store.change(admit(store, make_session()).id, Session.ready)
    first = store.claim(limit=2, now=START)
    assert first is not None
    assert store.claim(limit=2, now=START) is not None
    store.change(first.id, lambda current: current.cancel(START))
    assert store.claim(limit=2, now=START) is None
    store.change(first.id, lambda current: current.stopped(START, None))
    assert store.claim(limit=2, now=START) is not None


def test_a_step_that_fails_changes_nothing(store: SessionStore, make_session: MakeSession) -> None:
    session = admit(store, make_session())

    def fails(_current: Session) -> Session:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.change(session.id, fails)
    assert store.get(session.id) == session


def test_an_unknown_session_is_named_so(store: SessionStore) -> None:
    with pytest.raises(UnknownSessionError):
        store.get("nobody")
    with pytest.raises(UnknownSessionError):
        store.change("nobody", Session.ready)


def test_pages_show_everything_once_latest_first(store: SessionStore, make_session: MakeSession) -> None:
    ids = [admit(store, make_session(subject=subject)).id for subject in ("mia", "bob", "mia", "mia", "bob")]
    seen: list[str] = []
    before = None
    while page := store.page(subject=None, before=before, limit=2):
        seen += [session.id for session in page]
        before = page[-1].number
    assert seen == ids[::-1]
    assert [session.id for session in store.page(subject="bob", before=None, limit=9)] == [ids[4], ids[1]]


def test_writers_that_race_lose_nothing(store: SessionStore, make_session: MakeSession) -> None:
    sessions = [make_session() for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        admitted = list(pool.map(lambda session: store.admit(session, capacity=10), sessions))
        taken = [session for session in admitted if session is not None]
        assert sorted(session.number for session in taken) == list(range(1, 11))
        list(pool.map(lambda session: store.change(session.id, Session.ready), taken))
        claimed = list(pool.map(lambda _: store.claim(limit=5, now=START), range(12)))
    started = Counter(session.id for session in claimed if session is not None)
    assert len(started) == 5
    assert set(started.values()) == {1}
    assert {session.id for session in store.having(Status.RUNNING)} == started.keys()
    assert len(store.having(Status.QUEUED)) == 5


def test_a_database_that_is_gone_is_named(sqlite_engine: Engine, make_session: MakeSession) -> None:
    from acgs.storage.transactions import writing

    with writing(sqlite_engine, "test") as connection:
        connection.exec_driver_sql("DROP TABLE training_sessions")
    with pytest.raises(UnavailableError, match="cannot be used"):
        SqlSessionStore(sqlite_engine).admit(make_session(), capacity=1)
