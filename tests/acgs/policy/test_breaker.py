from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.policy.breaker import BreakerState, CircuitBreaker
from tests.acgs.policy.conftest import Clock


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock=clock)


def _fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.record_failure()


def test_four_failures_in_a_row_leave_it_closed_and_the_fifth_opens_it(breaker: CircuitBreaker) -> None:
    _fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED
    _fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.allows


def test_a_success_between_failures_starts_the_count_again(breaker: CircuitBreaker) -> None:
    _fail(breaker, 4)
    breaker.record_success()
    _fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_it_rests_30_seconds_and_then_tries_again(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, 5)
    clock.now = 29.999
    assert breaker.state is BreakerState.OPEN
    clock.now = 30.0
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.allows


def test_three_successes_on_probation_close_it(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, 5)
    clock.now = 30.0
    for _ in range(2):
        breaker.record_success()
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.record_success()
    assert breaker.state is BreakerState.CLOSED
    _fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_successes_before_it_opened_do_not_count_for_probation(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(10):
        breaker.record_success()
    _fail(breaker, 5)
    clock.now = 30.0
    breaker.record_success()
    assert breaker.state is BreakerState.HALF_OPEN


def test_one_failure_on_probation_opens_it_for_another_30_seconds(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, 5)
    clock.now = 40.0
    breaker.record_success()
    breaker.record_success()
    breaker.record_failure()
    assert breaker.state is BreakerState.OPEN
    clock.now = 69.9
    assert breaker.state is BreakerState.OPEN
    clock.now = 70.0
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.record_success()
    assert breaker.state is BreakerState.HALF_OPEN


@given(st.lists(st.booleans(), max_size=40))
def test_it_is_open_exactly_after_five_failures_in_a_row(results: list[bool]) -> None:
    breaker = CircuitBreaker(clock=lambda: 0.0)
    streak = 0
    for worked in results:
        if breaker.state is BreakerState.OPEN:
            break
        (breaker.record_success if worked else breaker.record_failure)()
        streak = 0 if worked else streak + 1
        assert (breaker.state is BreakerState.OPEN) is (streak == 5)
