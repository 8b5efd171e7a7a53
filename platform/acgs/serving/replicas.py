"""What replicas say they hold, and what may be concluded from it. Silence proves nothing: it never counts as ready."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from acgs.serving.routing import Slot

HEARTBEAT_SECONDS: Final = 1.0
LOST_AFTER_SECONDS: Final = 10.0
"""A replica that said nothing for so long is not counted on. Longer than a replica that loads a model is held up."""


class Phase(StrEnum):
    """How far a version is in one replica."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Holding(BaseModel):
    """One version in one replica of a slot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    version: str
    phase: Phase
    reason: str = ""
    load_seconds: float | None = Field(None, description="from the decision to load to all probes answered")


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What one replica reports. Times are seconds since 1970."""

    replica_id: str
    deployment: str
    slot: Slot | None
    """None for a router."""
    epoch: int
    started_at: float
    heartbeat: float
    versions: tuple[Holding, ...] = ()
    channel: str | None = None
    """Socket file of a slot's replica, for routers on the same machine."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a slot can answer for a version, and why not."""

    ready: bool
    reason: str = ""


def routers_on(replicas: Iterable[ReplicaState], epoch: int) -> bool:
    """Whether there is a router and every one works by the table of `epoch` or a later one: the flip is done."""
    epochs = [replica.epoch for replica in replicas if replica.slot is None]
    return bool(epochs) and min(epochs) >= epoch


def slot_readiness(replicas: Iterable[ReplicaState], slot: Slot, model: str, version: str) -> Readiness:
    """Whether every replica of a slot has the version ready, and there is one."""
    members = [replica for replica in replicas if replica.slot is slot]
    if not members:
        return Readiness(False, f"slot {slot} has no live replica")
    found = [_holding(replica.versions, model, version) for replica in members]
    failed = next((item for item in found if item is not None and item.phase is Phase.FAILED), None)
    if failed is not None:
        return Readiness(False, f"{model} {version} failed in slot {slot}: {failed.reason}")
    waiting = sum(item is None or item.phase is not Phase.READY for item in found)
    if waiting:
        return Readiness(
            False, f"{waiting} of {len(found)} replicas of slot {slot} are still loading {model} {version}"
        )
    return Readiness(True)


def _holding(holdings: Sequence[Holding], model: str, version: str) -> Holding | None:
    return next((item for item in holdings if (item.model, item.version) == (model, version)), None)
