"""One suite for every cache backend, then what Redis alone can do: go away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.policy.cache import DecisionCache, MemoryCache, RedisCache, open_cache
from acgs.policy.contract import EvaluateRequest, PolicyService
from acgs.policy.judge import RuleJudge
from tests.conftest import RedisServer

PATIENT = 10.0
"""Seconds a call may take on a busy machine, and a short entry has to expire."""

Open = Callable[[], DecisionCache]


@pytest.fixture(params=["memory", "redis"])
def open_backend(request: pytest.FixtureRequest) -> Open:
    if request.param == "memory":
        return MemoryCache
    url = request.getfixturevalue("redis_url")
    return lambda: RedisCache(url, timeout_seconds=PATIENT)


def run(open_backend: Open, steps: Callable[[DecisionCache], Awaitable[None]]) -> DecisionCache:
    """Run steps on a cache that lives in one event loop, as in a server."""

    async def body() -> DecisionCache:
        cache = open_backend()
        await steps(cache)
        return cache

    cache = asyncio.run(body())
    assert cache.errors == 0
    return cache


def test_what_was_stored_is_returned(open_backend: Open) -> None:
    async def steps(cache: DecisionCache) -> None:
        await cache.set("kept", b"\x00bytes\xff", 60)
        assert await cache.get("kept") == b"\x00bytes\xff"

    run(open_backend, steps)


def test_what_was_never_stored_is_a_miss(open_backend: Open) -> None:
    async def steps(cache: DecisionCache) -> None:
        await cache.set("other", b"1")
        assert await cache.get("never stored") is None

    run(open_backend, steps)


def test_the_last_write_wins(open_backend: Open) -> None:
    async def steps(cache: DecisionCache) -> None:
        await cache.set("overwritten", b"old", 60)
        await cache.set("overwritten", b"", 60)
        assert await cache.get("overwritten") == b""

    run(open_backend, steps)


def test_an_entry_leaves_when_its_time_is_over_and_no_other_does(open_backend: Open) -> None:
    async def steps(cache: DecisionCache) -> None:
        await cache.set("long", b"stays", 600)
        await cache.set("short", b"goes", 1)
        deadline = time.monotonic() + PATIENT
        while await cache.get("short") is not None:
            assert time.monotonic() < deadline, "the entry outlived its time"
            await asyncio.sleep(0.05)
        assert await cache.get("long") == b"stays"

    run(open_backend, steps)


def test_a_second_write_renews_the_time(open_backend: Open) -> None:
    async def steps(cache: DecisionCache) -> None:
        await cache.set("renewed", b"first", 1)
        await cache.set("renewed", b"second", 600)
        await asyncio.sleep(1.1)
        assert await cache.get("renewed") == b"second"

    run(open_backend, steps)


def test_the_memory_cache_is_bounded_and_drops_what_was_not_used() -> None:
    async def steps() -> None:
        cache = MemoryCache(max_entries=2)
        await cache.set("a", b"1")
        await cache.set("b", b"2")
        await cache.get("a")
        await cache.set("c", b"3")
        assert [await cache.get(key) for key in "abc"] == [b"1", None, b"3"]

    asyncio.run(steps())


def test_redis_holds_entries_under_the_contracts_key(redis_url: str) -> None:
    import redis

    async def steps() -> None:
        await RedisCache(redis_url, timeout_seconds=PATIENT).set("some-id", b"x", 77)

    asyncio.run(steps())
    with redis.Redis.from_url(redis_url) as client:
        assert client.get("constitutional_validation:some-id") == b"x"
        assert 0 < client.ttl("constitutional_validation:some-id") <= 77


def test_settings_choose_the_backend() -> None:
    assert isinstance(open_cache(None, max_entries=3), MemoryCache)
    assert isinstance(open_cache("redis://127.0.0.1:1/0", max_entries=3), RedisCache)


def test_a_server_that_never_answered_is_a_miss_and_is_counted() -> None:
    async def steps() -> None:
        cache = RedisCache("redis://127.0.0.1:1/0")
        assert await cache.get("key") is None
        await cache.set("key", b"value")
        assert cache.errors == 2

    asyncio.run(steps())


def test_when_redis_dies_between_two_requests_the_answer_stays_right(
    constitution: LockedConstitution, judge: RuleJudge, redis_server: RedisServer
) -> None:
    request = EvaluateRequest(action="require_human_review", agent_id="a", input_data={"risk_score": 0.9})

    async def steps() -> None:
        cache = RedisCache(redis_server.url, timeout_seconds=PATIENT)
        service = PolicyService(constitution, judge, cache)
        answers = [await service.evaluate(request), await service.evaluate(request)]
        assert [answer.cache_hit for answer in answers] == [False, True]
        assert cache.errors == 0
        redis_server.kill()
        orphaned = await service.evaluate(request)
        assert orphaned.cache_hit is False
        assert cache.errors == 2  # one read, one write
        volatile: dict[str, Any] = {"cache_hit": False, "evaluation_time_ms": 0}
        assert orphaned.model_copy(update=volatile) == answers[0].model_copy(update=volatile)

    asyncio.run(steps())
