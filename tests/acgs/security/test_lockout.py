"""Who fails too often is refused for a while, and nobody else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import RateLimitedError
from acgs.security.lockout import Lockout, peer_name

LIMIT, WINDOW, FIRST, LONGEST = 3, 60.0, 30.0, 240.0


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, *, failures: int = LIMIT, max_names: int = 100) -> Lockout:
    return Lockout(
        failures=failures, window=WINDOW, first=FIRST, longest=LONGEST, max_names=max_names, clock=clock
    )  # fmt: skip


def wait_of(lockout: Lockout, name: str = "mallory") -> float:
    """Seconds until the name may try again; 0 if it may now."""
    try:
        lockout.check(name)
    except RateLimitedError as error:
        assert error.retry_after > 0
        return error.retry_after
    return 0


def fail(lockout: Lockout, times: int = LIMIT, name: str = "mallory") -> None:
    for _ in range(times):
        lockout.failed(name)


def test_so_many_failures_lock_and_one_fewer_does_not() -> None:
    lockout = opened(Clock())
    fail(lockout, LIMIT - 1)
    assert wait_of(lockout) == 0
    fail(lockout, 1)
    assert wait_of(lockout) == FIRST


def test_failures_far_apart_do_not_lock() -> None:
    clock = Clock()
    lockout = opened(clock)
    for _ in range(20):
        fail(lockout, 1)
        clock.now += WINDOW / (LIMIT - 1)
        assert wait_of(lockout) == 0


def test_a_lock_ends_when_it_said_and_each_one_is_longer_up_to_a_limit() -> None:
    clock = Clock()
    lockout = opened(clock)
    lasted = []
    for _ in range(6):
        fail(lockout)
        lasted.append(wait_of(lockout))
        clock.now += lasted[-1]
        assert wait_of(lockout) == 0
    assert lasted == [30, 60, 120, 240, 240, 240]


def test_who_behaves_for_long_begins_anew() -> None:
    clock = Clock()
    lockout = opened(clock)
    for _ in range(2):
        fail(lockout)
        clock.now += wait_of(lockout)
    clock.now += LONGEST + 1
    fail(lockout)
    assert wait_of(lockout) == FIRST


def test_trying_on_does_not_lengthen_a_lock() -> None:
    clock = Clock()
    lockout = opened(clock)
    fail(lockout, 500)
    clock.now += 10
    fail(lockout, 500)
    assert wait_of(lockout) == FIRST - 10


def test_a_limit_of_zero_locks_nobody() -> None:
    lockout = opened(Clock(), failures=0)
    fail(lockout, 1000)
    assert wait_of(lockout) == 0


def test_the_number_of_names_remembered_is_bounded() -> None:
    lockout = opened(Clock(), max_names=10)
    fail(lockout, name="first")
    for number in range(10):
        fail(lockout, 1, name=f"other {number}")
    assert wait_of(lockout, "first") == 0


def test_one_who_never_stops_gets_few_tries_in_a_day() -> None:
    clock = Clock()
    lockout = Lockout(failures=10, clock=clock)
    tries = 0
    while clock.now < 1000.0 + 86_400:
        waited = wait_of(lockout, "mallory")
        clock.now += waited
        if not waited:
            fail(lockout, 1)
            tries += 1
    assert tries <= 10 * (24 + 8)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["mallory", "alice", "bob"]),
        st.one_of(st.just(0.0), st.floats(0, 40), st.sampled_from([FIRST, WINDOW, LONGEST])),
    ),
    max_size=80,
)


class Written:
    """The rule, written down plainly for one name."""

    def __init__(self) -> None:
        self.failures: list[float] = []
        self.locks = 0
        self.until = float("-inf")

    def failed(self, now: float) -> None:
        if now < self.until:
            return
        if now - self.until > LONGEST:
            self.locks = 0
        self.failures = [then for then in [*self.failures, now] if now - then < WINDOW]
        if len(self.failures) >= LIMIT:
            self.until = now + min(LONGEST, FIRST * 2**self.locks)
            self.locks += 1
            self.failures = []


@given(EVENTS)
def test_whatever_happens_each_name_is_locked_for_its_own_failures_alone(events: list[tuple[str, float]]) -> None:
    clock = Clock()
    lockout = opened(clock)
    alone = {name: Written() for name in ("mallory", "alice", "bob")}
    for name, wait in events:
        clock.now += wait
        lockout.failed(name)
        alone[name].failed(clock.now)
        for known, rule in alone.items():
            left = wait_of(lockout, known)
            assert left == pytest.approx(max(0.0, rule.until - clock.now))
            assert left <= LONGEST


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(1, 5))
def test_no_stream_of_names_makes_it_remember_more_than_it_may(names: list[str], places: int) -> None:
    lockout = opened(Clock(), max_names=places)
    for name in names:
        fail(lockout, name=name)
        assert sum(wait_of(lockout, known) > 0 for known in set(names)) <= places


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("testclient", "testclient", True),
        ("testclient", "10.0.0.1", False),
    ],
)
def test_a_host_is_its_address_or_its_network_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (peer_name(one) == peer_name(other)) == same
