"""Lock-out on repeated failures: who fails too often within a time is refused for a while, each time for longer.

A lock is one's own: what one peer does neither locks nor unlocks another. While it lasts, a right token is refused too;
otherwise guessing could go on until it succeeds. A success takes no failure back, so that a guesser who holds one right
token cannot clear the count with it. What happens is kept in memory, by replica: after a restart all begin anew.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from cachetools import LRUCache

from acgs.errors import RateLimitedError

WINDOW_SECONDS: Final = 60.0
FIRST_LOCK_SECONDS: Final = 30.0
LONGEST_LOCK_SECONDS: Final = 3600.0
_IPV6_NETWORK_BITS: Final = 64


class _Record(NamedTuple):
    failures: tuple[float, ...] = ()
    """Times of those in the window."""
    locks: int = 0
    """How many there were; each doubles the next."""
    locked_until: float = float("-inf")


class Lockout:
    """Counts failures by name: a peer's address, or a token's subject."""

    def __init__(
        self,
        *,
        failures: int,
        window: float = WINDOW_SECONDS,
        first: float = FIRST_LOCK_SECONDS,
        longest: float = LONGEST_LOCK_SECONDS,
        max_names: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            failures: so many within the window lock; 0: nothing ever does.
            window: seconds.
            first: seconds of the first lock; each that follows lasts twice as long.
            longest: seconds of the longest; who behaves for that long after a lock begins anew.
            max_names: names remembered; beyond them the one that was not seen for the longest time is forgotten.
        """
        self._limit = failures
        self._window = window
        self._first = first
        self._longest = longest
        self._clock = clock
        self._records: LRUCache[str, _Record] = LRUCache(maxsize=max_names)
        self._mutex = threading.Lock()

    def check(self, name: str) -> None:
        """Let pass who is not locked.

        Raises:
            RateLimitedError: the name is locked; `retry_after` says for how long.
        """
        now = self._clock()
        with self._mutex:
            until = self._records.get(name, _Record()).locked_until
        if now < until:
            raise RateLimitedError(
                "too many failed attempts; wait, then try with a valid token", retry_after=until - now
            )

    def failed(self, name: str) -> None:
        """Count a failure. One that comes while the name is locked does not lengthen the lock."""
        if self._limit == 0:
            return
        now = self._clock()
        with self._mutex:
            record = self._records.get(name, _Record())
            if now < record.locked_until:
                return
            if now - record.locked_until > self._longest:
                record = record._replace(locks=0)
            recent = (*(then for then in record.failures if now - then < self._window), now)
            if len(recent) < self._limit:
                self._records[name] = record._replace(failures=recent)
            else:
                # Beyond 2**30 the lock is the longest in any case.
                seconds = min(self._longest, self._first * 2.0 ** min(record.locks, 30))
                self._records[name] = _Record((), record.locks + 1, now + seconds)


def peer_name(address: str) -> str:
    """The name under which a peer's failures count: its address, or the /64 network that one host of IPv6 has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"peer {address}"
    if isinstance(parsed, ipaddress.IPv4Address):
        return f"peer {parsed}"
    if parsed.ipv4_mapped is not None:
        return f"peer {parsed.ipv4_mapped}"
    network = ipaddress.IPv6Network((int(parsed), _IPV6_NETWORK_BITS), strict=False)
    return f"peer {network}"
