"""Tells the store what this replica holds: at once, and as a heartbeat. In a thread, for a writer may have to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from acgs.errors import AcgsError
from acgs.serving.replicas import HEARTBEAT_SECONDS, ReplicaState
from acgs.serving.store import ServingStore

Chore = Callable[[], None]
_STOP_SECONDS: Final = 5.0


class Reporter:
    """Reports the state of a replica until it is stopped; then the replica is forgotten."""

    def __init__(
        self,
        store: ServingStore,
        state: Callable[[], ReplicaState],
        *,
        chores: Sequence[Chore] = (),
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """`chores` are done after each heartbeat; what fails is logged and tried again with the next."""
        self._store = store
        self._state = state
        self._chores = chores
        self._heartbeat_seconds = heartbeat_seconds
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="replica-report", daemon=True)
        self._fault = ""

    def start(self) -> None:
        """Begin with a report."""
        self._thread.start()

    def changed(self) -> None:
        """Report now rather than at the next heartbeat."""
        self._wake.set()

    def alive(self) -> bool:
        """Whether the thread still reports."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Do the chores once more and take the replica off the list."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        while not self._stopping:
            # Cleared before the state is read: a change in between is reported once more, never lost.
            early = self._wake.is_set()
            self._wake.clear()
            self._try(lambda: self._store.report(self._state()))
            if not early:
                self._do_chores()
            self._wake.wait(self._heartbeat_seconds)
        self._do_chores()
        self._try(lambda: self._store.forget(self._state().replica_id))

    def _do_chores(self) -> None:
        for chore in self._chores:
            self._try(chore)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next report must come
            reason = error.message if isinstance(error, AcgsError) else type(error).__name__
            if reason != self._fault:
                structlog.get_logger("models").error("report not written", reason=reason)
            self._fault = reason
        else:
            self._fault = ""
