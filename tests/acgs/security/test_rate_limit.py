from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import RateLimitedError
from acgs.security.rate_limit import TokenBuckets


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def buckets(clock: Clock, *, rate: float = 2.0, burst: int = 5, max_callers: int = 100) -> TokenBuckets:
    return TokenBuckets(rate=rate, burst=burst, max_callers=max_callers, clock=clock)


def spent(limiter: TokenBuckets, caller: str = "alice", cost: float = 1) -> int:
    """How many requests get through before the first refusal."""
    for count in range(10_000):
        try:
            limiter.spend(caller, cost)
        except RateLimitedError:
            return count
    raise AssertionError("the bucket has no bottom")


def test_a_new_caller_may_burst_and_no_more() -> None:
    assert spent(buckets(Clock(), burst=5)) == 5


def test_tokens_come_back_at_the_rate_and_only_up_to_the_burst() -> None:
    clock = Clock()
    limiter = buckets(clock, rate=2.0, burst=5)
    assert spent(limiter) == 5
    clock.now += 1.5
    assert spent(limiter) == 3
    clock.now += 3600
    assert spent(limiter) == 5


def test_a_refusal_says_when_enough_will_be_there_and_then_it_is() -> None:
    clock = Clock()
    limiter = buckets(clock, rate=2.0, burst=5)
    spent(limiter)
    with pytest.raises(RateLimitedError) as caught:
        limiter.spend("alice")
    assert caught.value.retry_after == pytest.approx(0.5)
    clock.now += caught.value.retry_after
    limiter.spend("alice")


def test_being_refused_costs_nothing() -> None:
    clock = Clock()
    limiter = buckets(clock, rate=1.0, burst=1)
    limiter.spend("alice")
    for _ in range(50):
        with pytest.raises(RateLimitedError):
            limiter.spend("alice")
    clock.now += 1.0
    limiter.spend("alice")


def test_callers_do_not_spend_each_others_tokens() -> None:
    limiter = buckets(Clock(), burst=5)
    spent(limiter, "alice")
    assert spent(limiter, "bob") == 5


def test_a_tenth_of_a_request_can_be_spent_ten_times_as_often() -> None:
    assert spent(buckets(Clock(), burst=5), cost=0.1) in (49, 50)


def test_a_batch_larger_than_the_burst_passes_with_a_full_bucket_and_leaves_a_debt() -> None:
    clock = Clock()
    limiter = buckets(clock, rate=2.0, burst=5)
    limiter.spend("alice", 9)
    with pytest.raises(RateLimitedError) as caught:
        limiter.spend("alice")
    assert caught.value.retry_after == pytest.approx(2.5)
    clock.now += 2.6
    limiter.spend("alice")


def test_the_number_of_callers_remembered_is_bounded() -> None:
    limiter = buckets(Clock(), burst=1, max_callers=10)
    limiter.spend("alice")
    for number in range(10):
        limiter.spend(f"caller {number}")
    limiter.spend("alice")  # forgotten, and so full again


def test_a_clock_that_stands_still_gives_nothing_back() -> None:
    clock = Clock()
    limiter = buckets(clock)
    assert (spent(limiter), spent(limiter)) == (5, 0)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from([0.1, 1.0, 2.0])), max_size=60),
    st.floats(0.1, 10),
    st.integers(1, 20),
)
def test_over_any_time_no_more_than_burst_and_rate_allow_gets_through(
    arrivals: list[tuple[float, float]], rate: float, burst: int
) -> None:
    clock = Clock()
    limiter = buckets(clock, rate=rate, burst=burst)
    total = 0.0
    for wait, cost in arrivals:
        clock.now += wait
        try:
            limiter.spend("alice", cost)
        except RateLimitedError as error:
            assert error.retry_after >= 0
            continue
        total += cost
    largest = 2.0
    assert total <= max(burst, largest) + rate * (clock.now - 1000.0) + 1e-6
