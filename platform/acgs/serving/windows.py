"""How requests went, per second or so: what guards and dashboards read. Collected in memory, handed over in windows."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from acgs.serving.routing import Slot

MAX_LATENCIES: Final = 256
"""Latencies kept of one window: a uniform sample of all."""
MAX_UNWRITTEN: Final = 600
"""Windows kept while the store cannot be written: ten minutes of one model."""
_RELATIVE: Final = 1e-6
_ABSOLUTE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class OutcomeWindow:
    """Requests of one version through one router replica. Times in seconds, `started` since 1970."""

    replica_id: str
    model: str
    version: str
    slot: Slot
    started: float
    seconds: float
    requests: int = 0
    """Answered or failed; requests that the caller has to mend are not counted."""
    errors: int = 0
    latencies: tuple[float, ...] = ()
    """Of answered requests; a sample where there were more than `MAX_LATENCIES`."""
    shadow_requests: int = 0
    """Copies that got an answer, or failed."""
    shadow_agreed: int = 0
    shadow_errors: int = 0
    shadow_dropped: int = 0
    """Copies that the shadow was spared: too many were under way, its slot was full, or the router ended."""


class Copy(StrEnum):
    """What became of a copy for a shadow."""

    AGREED = "agreed"
    DIFFERED = "differed"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    errors: int = 0
    answered: int = 0
    latencies: list[float] = field(default_factory=list)
    shadow_requests: int = 0
    shadow_agreed: int = 0
    shadow_errors: int = 0
    shadow_dropped: int = 0


class Outcomes:
    """Counts outcomes between two windows. Threads may share it."""

    def __init__(self, replica_id: str, *, clock: Callable[[], float] = time.time, seed: int | None = None) -> None:
        self._replica_id = replica_id
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - which latencies are kept is no secret
        self._lock = threading.Lock()
        self._started = clock()
        self._counts: dict[tuple[str, str, Slot], _Counts] = {}
        self._unwritten: list[OutcomeWindow] = []

    def answered(self, model: str, version: str, slot: Slot, seconds: float) -> None:
        """Count an answer."""
        with self._lock:
            counts = self._of(model, version, slot)
            counts.requests += 1
            counts.answered += 1
            if len(counts.latencies) < MAX_LATENCIES:
                counts.latencies.append(seconds)
            elif (place := self._random.randrange(counts.answered)) < MAX_LATENCIES:
                counts.latencies[place] = seconds

    def failed(self, model: str, version: str, slot: Slot) -> None:
        """Count a request that got no answer."""
        with self._lock:
            counts = self._of(model, version, slot)
            counts.requests += 1
            counts.errors += 1

    def shadowed(self, model: str, version: str, slot: Slot, outcome: Copy) -> None:
        """Count a copy."""
        with self._lock:
            counts = self._of(model, version, slot)
            counts.shadow_requests += outcome is not Copy.DROPPED
            counts.shadow_agreed += outcome is Copy.AGREED
            counts.shadow_errors += outcome is Copy.FAILED
            counts.shadow_dropped += outcome is Copy.DROPPED

    def take(self) -> list[OutcomeWindow]:
        """The windows since the last call, after those that were put back; what saw no request has none."""
        now = self._clock()
        with self._lock:
            taken, self._counts = self._counts, {}
            started, self._started = self._started, now
            unwritten, self._unwritten = self._unwritten, []
        return unwritten + [
            OutcomeWindow(
                self._replica_id, model, version, slot, started, max(0.0, now - started), counts.requests,
                counts.errors, tuple(counts.latencies), counts.shadow_requests, counts.shadow_agreed,
                counts.shadow_errors, counts.shadow_dropped,
            )
            for (model, version, slot), counts in taken.items()
        ]  # fmt: skip

    def put_back(self, windows: list[OutcomeWindow]) -> None:
        """Windows that could not be handed over; the latest `MAX_UNWRITTEN` are offered again."""
        with self._lock:
            self._unwritten = windows[-MAX_UNWRITTEN:]

    def _of(self, model: str, version: str, slot: Slot) -> _Counts:
        return self._counts.setdefault((model, version, slot), _Counts())


def agree(left: Any, right: Any) -> bool:
    """Whether two predictions are the same: numbers up to rounding, everything else exactly."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(agree, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(agree(value, right[name]) for name, value in left.items())
    return bool(left == right)
