from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.learning.sessions.session import ENDED, Session, SessionConflictError, Status
from tests.acgs.learning.sessions.conftest import START, MakeSession

LATER = START + timedelta(seconds=10)
STEPS: dict[str, Callable[[Session], Session]] = {
    "ready": Session.ready,
    "start": lambda session: session.start(LATER),
    "cancel": lambda session: session.cancel(LATER),
    "run_out_of_time": Session.run_out_of_time,
    "complete": lambda session: session.complete(LATER, None),
    "fail": lambda session: session.fail(LATER, "why"),
    "stopped": lambda session: session.stopped(LATER, None),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12))
def test_no_sequence_of_steps_leaves_an_end_or_skips_the_queue(make_session: MakeSession, names: list[str]) -> None:
    session = make_session()
    path = [session.status]
    for name in names:
        try:
            session = STEPS[name](session)
        except SessionConflictError:
            continue
        path.append(session.status)
    ends = [place for place, status in enumerate(path) if status in ENDED]
    assert set(path[ends[0] :]) == {path[ends[0]]} if ends else True
    assert (session.ended_at is not None) == session.has_ended
    if Status.RUNNING in path:
        assert path[path.index(Status.RUNNING) - 1] is Status.QUEUED
        assert session.started_at == LATER
    assert (Status.COMPLETED in path) <= (Status.RUNNING in path)


def test_a_waiting_session_is_cancelled_at_once_and_a_running_one_when_its_job_has_ended(
    make_session: MakeSession,
) -> None:
    waiting = make_session().ready()
    assert waiting.cancel(LATER).status is Status.CANCELLED
    running = waiting.start(START).cancel(LATER)
    assert running.status is Status.CANCELLING
    assert running.stopped(LATER, None).status is Status.CANCELLED


def test_cancelling_twice_changes_nothing_and_what_is_done_cannot_be_cancelled(make_session: MakeSession) -> None:
    cancelling = make_session().ready().start(START).cancel(LATER)
    assert cancelling.cancel(LATER) == cancelling
    with pytest.raises(SessionConflictError, match="completed"):
        cancelling.complete(LATER, None).cancel(LATER)


def test_a_session_whose_time_is_up_has_failed_and_says_so(make_session: MakeSession) -> None:
    session = make_session(max_training_seconds=60.0).ready().start(START)
    assert session.deadline == START + timedelta(seconds=60)
    ended = session.run_out_of_time().stopped(LATER, None)
    assert ended.status is Status.FAILED
    assert ended.error_message == "stopped at max_training_time, 60 s; its last checkpoint is kept"
