"""Token bucket per caller: `rate` tokens a second up to `burst`; a request spends one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cachetools import LRUCache

from acgs.errors import RateLimitedError


class TokenBuckets:
    """Buckets by caller. The number of callers remembered is bounded; a forgotten caller starts with a full bucket."""

    def __init__(
        self,
        *,
        rate: float,
        burst: int,
        max_callers: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rate` in requests a second, `burst` in requests."""
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(maxsize=max_callers)
        self._mutex = threading.Lock()

    def spend(self, caller: str, cost: float = 1) -> None:
        """Take `cost` tokens from the caller's bucket.

        A cost above the burst needs a full bucket and leaves a debt, so that the long-run rate holds for batches too.

        Raises:
            RateLimitedError: there are too few; `retry_after` says when there will be enough.
        """
        now = self._clock()
        needed = min(cost, self._burst)
        with self._mutex:
            tokens, then = self._buckets.get(caller, (self._burst, now))
            tokens = min(self._burst, tokens + (now - then) * self._rate)
            enough = tokens >= needed
            self._buckets[caller] = (tokens - cost if enough else tokens, now)
        if not enough:
            raise RateLimitedError("too many requests; wait and try again", retry_after=(needed - tokens) / self._rate)
