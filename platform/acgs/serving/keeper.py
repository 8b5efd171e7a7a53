"""What one replica of a slot holds: a version of each model, loaded beside the one in use and swapped in when proven.

The table says what is wanted; a thread of the keeper's own loads it. Until the wanted version is ready the old one
stays, and whoever was answered by it keeps it to the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from acgs.errors import AcgsError, UnavailableError
from acgs.serving.batching import Worker
from acgs.serving.fetching import Fetch
from acgs.serving.replicas import Holding, Phase
from acgs.serving.routing import RoutingTable, Slot
from acgs.serving.served import ServedVersion, load_version

FIRST_RETRY_SECONDS: Final = 5.0
LAST_RETRY_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 10.0

Load = Callable[[str, str], ServedVersion]


class NotHeldError(UnavailableError):
    """The slot does not hold the version that it was asked for."""

    code = "not_held"


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How a wanted version fares. `again_at` is on the monotonic clock; None where another try would not help."""

    holding: Holding
    tries: int = 0
    again_at: float | None = 0.0


class Keeper:
    """Holds what the table names for its slot. Threads may share it."""

    def __init__(self, slot: Slot, load: Load, changed: Callable[[], None]) -> None:
        """`changed` is called when a version came, went or failed; it must return at once."""
        self._slot = slot
        self._load = load
        self._changed = changed
        self._condition = threading.Condition()
        self._attempts: dict[str, _Attempt] = {}
        self._workers: Mapping[str, Worker] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._keep, name=f"slot-{slot}", daemon=True)
        self._thread.start()

    def follow(self, table: RoutingTable) -> None:
        """Want what the table names; returns at once."""
        wanted = table.wanted_in(self._slot)
        with self._condition:
            kept = {
                name: attempt for name, attempt in self._attempts.items() if wanted.get(name) == attempt.holding.version
            }
            for name, version in wanted.items():
                if name not in kept:
                    kept[name] = self._first(name, version)
            self._attempts = kept
            left = {name: worker for name, worker in self._workers.items() if name not in wanted}
            self._workers = {name: worker for name, worker in self._workers.items() if name in wanted}
            for worker in left.values():
                worker.retire()
            self._condition.notify_all()
        self._changed()

    def worker(self, model: str, version: str) -> Worker:
        """Who answers for a version.

        Raises:
            NotHeldError: this replica does not have it now; the reason says why.
        """
        worker = self._workers.get(model)
        if worker is not None and worker.served.version == version:
            return worker
        attempt = self._attempts.get(model)
        if attempt is None or attempt.holding.version != version:
            held = "nothing" if worker is None else worker.served.version
            raise NotHeldError(f"slot {self._slot} holds {held} of {model}, not {version}")
        why = attempt.holding.reason or "it is still being loaded"
        raise NotHeldError(f"slot {self._slot} cannot answer for {model} {version}: {why}")

    def holdings(self) -> tuple[Holding, ...]:
        """Every wanted version and how it fares, by model."""
        with self._condition:
            return tuple(self._attempts[name].holding for name in sorted(self._attempts))

    def settle(self, timeout: float) -> bool:
        """Wait until each wanted version is ready or has failed, for `timeout` seconds; whether that came."""
        with self._condition:
            return self._condition.wait_for(
                lambda: all(item.holding.phase is not Phase.LOADING for item in self._attempts.values()), timeout
            )

    def alive(self) -> bool:
        """Whether the thread still loads."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Retire everything. A load in progress is not waited for."""
        with self._condition:
            self._closing = True
            workers, self._workers = self._workers, {}
            self._condition.notify_all()
        for worker in workers.values():
            worker.retire()
        for worker in workers.values():
            worker.join(_CLOSE_SECONDS)

    def _first(self, model: str, version: str) -> _Attempt:
        """A version that is wanted again while it is still held needs no load."""
        worker = self._workers.get(model)
        if worker is not None and worker.served.version == version:
            return _Attempt(Holding(model=model, version=version, phase=Phase.READY), again_at=None)
        return _Attempt(Holding(model=model, version=version, phase=Phase.LOADING))

    def _keep(self) -> None:
        while (attempt := self._next()) is not None:
            began = time.monotonic()
            holding = attempt.holding
            try:
                served = self._load(holding.model, holding.version)
            except Exception as error:  # noqa: BLE001 - a folder or model may fail in any way; the slot lives on
                self._note_failure(attempt, error)
            else:
                self._swap_in(attempt, served, time.monotonic() - began)
            self._changed()

    def _next(self) -> _Attempt | None:
        """The next version to load, waiting for one; None at the end."""
        with self._condition:
            while not self._closing:
                due = [item for item in self._attempts.values() if item.again_at is not None]
                first = min(due, key=lambda item: item.again_at or 0.0, default=None)
                if first is None:
                    self._condition.wait()
                    continue
                wait = (first.again_at or 0.0) - time.monotonic()
                if wait <= 0:
                    return first
                self._condition.wait(wait)
        return None

    def _swap_in(self, attempt: _Attempt, served: ServedVersion, seconds: float) -> None:
        worker = Worker(served)
        name = attempt.holding.model
        with self._condition:
            if self._closing or self._attempts.get(name) != attempt:
                worker.retire()  # the table moved on while it was loaded
                return
            old = self._workers.get(name)
            # One assignment: a request sees the old version or the new one.
            self._workers = {**self._workers, name: worker}
            ready = attempt.holding.model_copy(
                update={"phase": Phase.READY, "reason": "", "load_seconds": round(seconds, 3)}
            )
            self._attempts[name] = _Attempt(ready, again_at=None)
            self._condition.notify_all()
        if old is not None:
            old.retire()

    def _note_failure(self, attempt: _Attempt, error: Exception) -> None:
        reason = error.message if isinstance(error, AcgsError) else f"it cannot be loaded ({type(error).__name__})"
        holding = attempt.holding
        structlog.get_logger("models").error(
            "version not loaded", model=holding.model, version=holding.version, slot=self._slot.value, reason=reason
        )
        passing = isinstance(error, UnavailableError | OSError | MemoryError)
        delay = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**attempt.tries)
        failed = _Attempt(
            holding.model_copy(update={"phase": Phase.FAILED, "reason": reason}),
            attempt.tries + 1,
            time.monotonic() + delay if passing else None,
        )
        with self._condition:
            if self._attempts.get(holding.model) == attempt:
                self._attempts[holding.model] = failed
                self._condition.notify_all()


def loader(fetch: Fetch) -> Load:
    """Loads versions, and the bases of adapters, from where `fetch` has them."""
    return lambda model, version: load_version(model, version, fetch(model, version), fetch)
