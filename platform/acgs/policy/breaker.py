"""Circuit breaker: stops asking a part that keeps failing, and tries it again after a pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    """Closed lets calls through, open does not, half-open lets them through on probation."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Opens after `failure_threshold` failures in a row, closes after `success_threshold` successes on probation."""

    def __init__(
        self,
        *,
        failure_threshold: int = 5,
        recovery_timeout_seconds: float = 30.0,
        success_threshold: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failure_threshold = failure_threshold
        self._recovery_timeout = recovery_timeout_seconds
        self._success_threshold = success_threshold
        self._clock = clock
        self._opened_at: float | None = None
        self.failure_count = 0
        self.success_count = 0

    @property
    def state(self) -> BreakerState:
        """The state now; an open breaker turns half-open when its pause is over."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        if self._clock() - self._opened_at >= self._recovery_timeout:
            return BreakerState.HALF_OPEN
        return BreakerState.OPEN

    @property
    def allows(self) -> bool:
        """Whether a call may be made now."""
        return self.state is not BreakerState.OPEN

    def record_success(self) -> None:
        """Count a call that worked."""
        self.success_count += 1
        if self._opened_at is None:
            self.failure_count = 0
        elif self.success_count >= self._success_threshold:
            self._opened_at = None
            self.failure_count = 0

    def record_failure(self) -> None:
        """Count a call that failed; on probation one is enough to open again."""
        self.failure_count += 1
        self.success_count = 0
        if self._opened_at is not None or self.failure_count >= self._failure_threshold:
            self._opened_at = self._clock()
