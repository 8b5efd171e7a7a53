"""Where routing tables, replica states and outcome windows are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from acgs.errors import AcgsError
from acgs.serving.replicas import ReplicaState
from acgs.serving.routing import ModelRoute, RoutingTable
from acgs.serving.windows import OutcomeWindow


class StaleTableError(AcgsError):
    """Somebody else changed the table in the meantime."""

    code = "conflict"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the routing table is at epoch {found}, not {expected}; look at it again and repeat the change",
            field="expected_epoch",
        )


@dataclass(frozen=True, slots=True)
class RecordedTable:
    """A table with when, by whom and why it came into force."""

    table: RoutingTable
    recorded_at: datetime
    actor: str
    reason: str


class ServingStore(Protocol):
    """Shared by all replicas and by who releases. On disk when a method returns; changes are atomic.

    All raise `UnavailableError` if the store cannot be used.
    """

    def append(
        self, models: Mapping[str, ModelRoute], *, actor: str, reason: str, expected_epoch: int | None = None
    ) -> RoutingTable:
        """Put a new table into force; its epoch is the last one's plus one.

        Raises `StaleTableError` if `expected_epoch` is not the epoch in force.
        """
        ...

    def epoch(self) -> int:
        """The epoch in force; 0 before the first table."""
        ...

    def latest(self) -> RoutingTable:
        """The table in force; the empty one of epoch 0 before the first."""
        ...

    def tables(self, since: datetime | None = None, until: datetime | None = None) -> list[RecordedTable]:
        """Every table that was in force at some time of a span, by epoch: the one in force at `since` comes first."""
        ...

    def report(self, state: ReplicaState) -> None:
        """Replace what a replica said last."""
        ...

    def forget(self, replica_id: str) -> None:
        """Drop a replica that ended in an orderly way."""
        ...

    def replicas(self, *, alive_since: float) -> list[ReplicaState]:
        """Replicas whose heartbeat is not older than `alive_since`, by id."""
        ...

    def record(self, windows: Sequence[OutcomeWindow]) -> None:
        """Add windows; one that is there already is kept as it is."""
        ...

    def windows(self, model: str, *, since: float, version: str | None = None) -> list[OutcomeWindow]:
        """Windows of a model that started at `since` or later, oldest first."""
        ...

    def prune(self, *, before: float) -> int:
        """Drop windows and silent replicas older than `before`; how many. Tables are never dropped."""
        ...
