"""Caches of decisions: in process, or shared through Redis. A cache that fails is a miss, never an answer."""

from __future__ import annotations

from typing import Any, Protocol

from cachetools import TLRUCache

KEY_PREFIX = "constitutional_validation:"
DEFAULT_TTL_SECONDS = 300


class DecisionCache(Protocol):
    """Bytes by key with a time to live. Neither method raises: trouble counts in `errors` and reads as a miss."""

    errors: int

    async def get(self, key: str) -> bytes | None:
        """The stored bytes, or None."""

    async def set(self, key: str, value: bytes, ttl: int = DEFAULT_TTL_SECONDS) -> None:
        """Store bytes for `ttl` seconds."""


class MemoryCache:
    """Bounded in-process cache; the least recently used entry leaves first."""

    def __init__(self, max_entries: int = 100_000) -> None:
        self.errors = 0
        self._entries: TLRUCache[str, tuple[bytes, int]] = TLRUCache(
            maxsize=max_entries, ttu=lambda _key, entry, now: float(now) + entry[1]
        )

    async def get(self, key: str) -> bytes | None:
        """See `DecisionCache.get`."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    async def set(self, key: str, value: bytes, ttl: int = DEFAULT_TTL_SECONDS) -> None:
        """See `DecisionCache.set`."""
        self._entries[key] = (value, ttl)


class RedisCache:
    """Shared cache under the contract's key `constitutional_validation:{id}`."""

    def __init__(self, url: str, *, timeout_seconds: float = 0.05) -> None:
        """Connects on first use; `timeout_seconds` bounds every call, so a dead server costs little."""
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        self.errors = 0
        self._failures: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self._client: Any = Redis.from_url(url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds)

    async def get(self, key: str) -> bytes | None:
        """See `DecisionCache.get`."""
        try:
            value: bytes | None = await self._client.get(KEY_PREFIX + key)
        except self._failures:
            self.errors += 1
            return None
        return value

    async def set(self, key: str, value: bytes, ttl: int = DEFAULT_TTL_SECONDS) -> None:
        """See `DecisionCache.set`."""
        try:
            await self._client.set(KEY_PREFIX + key, value, ex=ttl)
        except self._failures:
            self.errors += 1


def open_cache(redis_url: str | None, *, max_entries: int) -> DecisionCache:
    """The cache that the settings ask for."""
    return MemoryCache(max_entries) if redis_url is None else RedisCache(redis_url)
