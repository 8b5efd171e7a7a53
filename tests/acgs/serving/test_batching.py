"""Requests that wait go through a model together, and none spoils another's answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from acgs.errors import InvalidInputError
from acgs.serving.batching import FEW_INSTANCES, LONG_SECONDS, MAX_JOINED, QUICK_SECONDS, RetiredError, Worker
from acgs.serving.runtimes.runtime import ModelFailedError
from tests.acgs.serving.doubles import StandIn, version


def held_up(runtime: StandIn) -> Worker:
    """A worker whose model is busy with a first request."""
    worker = Worker(version(runtime))
    worker.submit([0], {})
    assert runtime.entered.wait(60)
    return worker


def test_what_waits_goes_through_together_and_everyone_gets_their_own() -> None:
    gate = threading.Event()
    runtime = StandIn(gate=gate)
    worker = held_up(runtime)
    waiting = [worker.submit([number, number + 0.5], {}) for number in range(5)]
    gate.set()
    assert [job.result(60).values for job in waiting] == [[2 * n, 2 * n + 1] for n in range(5)]
    assert runtime.calls == [1, 10]


def test_a_model_that_gains_nothing_is_asked_one_by_one() -> None:
    gate = threading.Event()
    runtime = StandIn(joins=False, gate=gate)
    worker = held_up(runtime)
    waiting = [worker.submit([number], {}) for number in range(3)]
    gate.set()
    assert [job.result(60).values for job in waiting] == [[0], [2], [4]]
    assert runtime.calls == [1, 1, 1, 1]


def test_a_batch_is_bounded() -> None:
    gate = threading.Event()
    runtime = StandIn(gate=gate)
    worker = held_up(runtime)
    waiting = [worker.submit([1] * 100, {}) for _ in range(8)]
    gate.set()
    for job in waiting:
        job.result(60)
    assert max(runtime.calls) < MAX_JOINED + 100


def test_only_requests_with_the_same_parameters_are_joined() -> None:
    gate = threading.Event()
    worker = held_up(StandIn(gate=gate))
    two, three, again = (worker.submit([1], parameters) for parameters in ({}, {"factor": 3}, {}))
    gate.set()
    assert [job.result(60).values for job in (two, three, again)] == [[2], [3], [2]]


def test_one_request_that_fails_spoils_no_other() -> None:
    gate = threading.Event()
    worker = held_up(StandIn(gate=gate))
    good, fails, wrong, also = (worker.submit(instances, {}) for instances in ([1], [-1], ["x"], [2]))
    gate.set()
    assert (good.result(60).values, also.result(60).values) == ([2], [4])
    with pytest.raises(ModelFailedError):
        fails.result(60)
    with pytest.raises(InvalidInputError, match=r"instances\.0"):
        wrong.result(60)


def test_a_retired_version_answers_what_it_took_and_is_then_let_go() -> None:
    gate = threading.Event()
    runtime = StandIn(gate=gate)
    worker = held_up(runtime)
    taken = worker.submit([4], {})
    worker.retire()
    with pytest.raises(RetiredError):
        worker.submit([5], {})
    assert not runtime.closed.is_set()
    gate.set()
    assert taken.result(60).values == [8]
    assert worker.join(60)
    assert runtime.closed.is_set()


def test_a_request_that_nobody_waits_for_any_more_is_not_computed() -> None:
    gate = threading.Event()
    runtime = StandIn(gate=gate)
    worker = held_up(runtime)
    dropped, kept = worker.submit([1] * 7, {}), worker.submit([1], {})
    assert dropped.cancel()
    gate.set()
    kept.result(60)
    assert runtime.calls == [1, 1]


def seconds_a_call(seconds: float) -> Iterator[float]:
    """A clock's readings: each call of a model, which reads it twice, takes so long."""
    return (seconds * reading for reading in count())


def answered(runtime: StandIn, *, seconds: float, requests: int = 200) -> Worker:
    """A worker whose model has answered some requests, each in so many seconds."""
    worker = Worker(version(runtime), clock=seconds_a_call(seconds).__next__)
    for _ in range(requests):
        worker.submit([1], {}).result(60)
    return worker


def test_a_model_that_has_been_quick_is_asked_in_the_callers_thread() -> None:
    runtime = StandIn()
    worker = answered(runtime, seconds=QUICK_SECONDS / 2)
    found = worker.ask_here([3], {"factor": 5})
    assert found is not None
    assert found.values == [15]
    assert runtime.threads[-1] is threading.current_thread()
    with pytest.raises(ModelFailedError):
        worker.ask_here([-1], {})
    with pytest.raises(InvalidInputError, match=r"instances\.0"):
        worker.ask_here(["x"], {})
    assert worker.submit([4], {}).result(60).values == [8]


@pytest.mark.parametrize(("seconds", "requests"), [(2 * QUICK_SECONDS, 200), (QUICK_SECONDS / 2, 20)])
def test_a_model_that_is_slow_or_little_known_is_left_to_its_thread(seconds: float, requests: int) -> None:
    runtime = StandIn()
    worker = answered(runtime, seconds=seconds, requests=requests)
    assert worker.ask_here([3], {}) is None
    assert len(runtime.calls) == requests


def test_a_model_that_once_took_long_goes_back_to_its_thread_for_good() -> None:
    worker = answered(StandIn(), seconds=0.0)
    assert worker.ask_here([1], {}) is not None
    worker._clock = seconds_a_call(2 * LONG_SECONDS).__next__
    assert worker.ask_here([1], {}) is not None
    worker._clock = seconds_a_call(0.0).__next__
    for _ in range(200):
        worker.submit([1], {}).result(60)
    assert worker.ask_here([1], {}) is None


def test_a_check_that_took_long_counts_although_it_refused() -> None:
    worker = answered(StandIn(), seconds=0.0)
    worker._clock = seconds_a_call(2 * LONG_SECONDS).__next__
    with pytest.raises(InvalidInputError):
        worker.ask_here(["x"], {})
    worker._clock = seconds_a_call(0.0).__next__
    assert worker.ask_here([1], {}) is None


def test_requests_that_are_refused_do_not_make_a_model_quick() -> None:
    worker = Worker(version(StandIn()), clock=seconds_a_call(0.0).__next__)
    for _ in range(200):
        with pytest.raises(ModelFailedError):
            worker.submit([-1], {}).result(60)
    assert worker.ask_here([1], {}) is None


def test_what_may_take_long_is_left_to_the_thread_however_quick_the_model_was() -> None:
    assert answered(StandIn(brief=False), seconds=0.0).ask_here([1], {}) is None
    worker = answered(StandIn(), seconds=0.0)
    assert worker.ask_here([1] * FEW_INSTANCES, {}) is not None
    assert worker.ask_here([1] * (FEW_INSTANCES + 1), {}) is None


def test_a_request_that_waits_for_the_thread_is_not_overtaken() -> None:
    worker = answered(StandIn(), seconds=0.0)
    with worker._model:
        waiting = worker.submit([2], {})
        assert worker.ask_here([1], {}) is None
    assert waiting.result(60).values == [4]


def test_a_busy_model_is_not_asked_from_two_threads() -> None:
    gate = threading.Event()
    gate.set()
    runtime = StandIn(gate=gate)
    worker = answered(runtime, seconds=0.0)
    gate.clear()
    runtime.entered.clear()
    taken = worker.submit([1], {})
    assert runtime.entered.wait(60)
    assert worker.ask_here([2], {}) is None
    gate.set()
    assert taken.result(60).values == [2]


def test_a_retired_version_is_asked_by_nobody() -> None:
    worker = answered(StandIn(), seconds=0.0)
    worker.retire()
    with pytest.raises(RetiredError):
        worker.ask_here([1], {})
    assert worker.join(60)
    with pytest.raises(RetiredError):
        worker.ask_here([1], {})
