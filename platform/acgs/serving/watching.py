"""Follows the routing table: a thread asks the store for a newer one, many times a second.

A store that cannot be read changes nothing: the last table stays in force, so serving goes on without the database and
without the cluster's control plane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from acgs.errors import AcgsError
from acgs.serving.routing import RoutingTable
from acgs.serving.store import ServingStore

POLL_SECONDS: Final = 0.1

Listener = Callable[[RoutingTable], None]


class TableWatch:
    """The table in force as far as this process knows: the highest epoch it was ever shown."""

    def __init__(self, store: ServingStore, listener: Listener, *, poll_seconds: float = POLL_SECONDS) -> None:
        """`listener` hears of each newer table, in order, and must return at once."""
        self._store = store
        self._listener = listener
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._table = RoutingTable()
        self._thread = threading.Thread(target=self._follow, name="routing-table", daemon=True)
        self.fault = ""
        """Why the store could not be read the last time; empty when it could."""

    @property
    def table(self) -> RoutingTable:
        """The table in force."""
        return self._table

    def start(self) -> None:
        """Read the table once and follow it from then on.

        Raises:
            UnavailableError: the store cannot be read. A process that knows no table must not start on an empty one.
        """
        self.refresh()
        self._thread.start()

    def offer(self, table: RoutingTable) -> bool:
        """Take a table that came another way, if it is newer; whether it was."""
        with self._lock:
            if table.epoch <= self._table.epoch:
                return False
            self._table = table
            self._listener(table)
        return True

    def refresh(self) -> None:
        """Look for a newer table now.

        Raises:
            UnavailableError: the store cannot be read.
        """
        if self._store.epoch() > self._table.epoch:
            self.offer(self._store.latest())

    def alive(self) -> bool:
        """Whether the thread still follows."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        log = structlog.get_logger("models")
        while not self._stop.wait(self._poll_seconds):
            try:
                self.refresh()
                fault = ""
            except AcgsError as error:
                fault = error.message
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look must come
                fault = f"the routing table cannot be read ({type(error).__name__})"
            if fault and fault != self.fault:
                log.error("routing table not read", reason=fault)
            self.fault = fault
