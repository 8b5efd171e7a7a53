"""A small pool that works on a bounded number of pieces at a time, and stops at the first failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

WORKERS: Final = 4
_WAITING: Final = 2
"""Pieces that lie ready beside those in work; with 4 MiB a piece, memory stays below 100 MB."""

P = ParamSpec("P")
T = TypeVar("T")


class TransferPool:
    """Runs calls in threads; `submit` waits while too many are under way, so that memory stays flat."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="artifact")
        self._free = threading.BoundedSemaphore(workers + _WAITING)
        self._failure: BaseException | None = None

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a call when there is room. Raises what an earlier call raised."""
        self._free.acquire()
        if self._failure is not None:
            self._free.release()
            raise self._failure
        future = self._pool.submit(call, *args, **kwargs)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[T]) -> None:
        if not future.cancelled() and self._failure is None:
            self._failure = future.exception()
        self._free.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None and self._failure is not None:
            raise self._failure


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is, in plain bytes. `moved` counts those that were really sent or received."""

    done: int
    total: int
    moved: int


ProgressCallback = Callable[[Progress], None]
"""Called from the threads of a transfer, one call at a time."""


class Meter:
    """Counts the bytes of a transfer and tells its callback."""

    def __init__(self, total: int, callback: ProgressCallback | None) -> None:
        self._total = total
        self._callback = callback
        self._done = self._moved = 0
        self._lock = threading.Lock()

    def add(self, size: int, *, moved: bool) -> None:
        """`size` more bytes are through."""
        with self._lock:
            self._done += size
            self._moved += size * moved
            if self._callback is not None:
                self._callback(Progress(self._done, self._total, self._moved))
