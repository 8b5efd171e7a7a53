"""What runs in a replica of the router, without its HTTP: limits, the table, the slots, the counting."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import load_locked
from acgs.errors import AcgsError, UnavailableError
from acgs.security.rate_limit import TokenBuckets
from acgs.serving.desk import question_of
from acgs.serving.dispatch import Ask, Dispatcher
from acgs.serving.metrics import ModelMetrics
from acgs.serving.replicas import LOST_AFTER_SECONDS, ReplicaState
from acgs.serving.reporting import Reporter
from acgs.serving.routing import RoutingTable, Slot, UnknownModelError
from acgs.serving.store import ServingStore
from acgs.serving.watching import TableWatch
from acgs.serving.windows import Outcomes
from acgs.settings import Settings
from serve_apps.models_settings import ModelSettings
from serve_apps.models_slot import ReplicaIdentity, open_serving_store

PRUNE_SECONDS = 60.0
_DAY_SECONDS = 86_400.0


class PredictRequest(BaseModel):
    """Body of a prediction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instances: list[Any] = Field(description="each as the model's input schema says")
    parameters: dict[str, Any] = Field(default_factory=dict, description="what else the kind of model takes")
    constitutional_hash: str | None = Field(None, description="label or digest; refused if another is in force")


class RouterReplica:
    """A router's replica without its cluster and its HTTP."""

    def __init__(
        self,
        identity: ReplicaIdentity,
        store: ServingStore,
        slots: Mapping[Slot, Ask],
        *,
        constitution: LockedConstitution,
        models: ModelSettings,
    ) -> None:
        self._identity = identity
        self._started_at = time.time()
        self._store = store
        self._constitution = constitution
        self._keep_seconds = models.outcome_days * _DAY_SECONDS
        self._pruned_at = 0.0
        self._outcomes = Outcomes(identity.replica_id)
        self._limiter = TokenBuckets(rate=models.requests_per_second, burst=models.request_burst)
        self.metrics = ModelMetrics()
        self.max_body_bytes = models.max_body_bytes
        self._reporter = Reporter(store, self._state, chores=(self._hand_over, self._prune))
        self._watch = TableWatch(store, self._follow, poll_seconds=models.poll_seconds)
        self._dispatcher = Dispatcher(
            lambda: self._watch.table, self._watch.refresh, slots, self._outcomes,
            timeout_seconds=models.timeout_seconds,
        )  # fmt: skip

    @property
    def table(self) -> RoutingTable:
        """The table in force."""
        return self._watch.table

    def open(self) -> None:
        """Read the table and follow it.

        Raises:
            UnavailableError: the store cannot be read.
        """
        self._watch.start()
        self._reporter.start()

    def admit(self, caller: str) -> None:
        """Count a request against its caller's rate.

        Raises:
            RateLimitedError: the caller has spent it.
        """
        self._limiter.spend(caller, 1)

    async def predict(self, model: str, key: str, request: PredictRequest) -> bytes:
        """The answer as JSON.

        Raises:
            AcgsError: there is none; the message says why.
        """
        if request.constitutional_hash is not None:
            self._constitution.require(request.constitutional_hash)
        question = question_of(request.instances, request.parameters)
        answered = await self._dispatcher.predict(model, key, question)
        self.metrics.answered(model, answered.slot, answered.version, answered.seconds)
        head = orjson.dumps(
            {
                "model": model,
                "version": answered.version,
                "slot": answered.slot,
                "epoch": answered.epoch,
                "constitutional_hash": self._constitution.label,
            }
        )
        # The slot's object goes on behind ours unread.
        return head[:-1] + b"," + answered.body[1:]

    def listing(self) -> dict[str, Any]:
        """All models, their slots and how far each replica is. Blocks on the store."""
        table, replicas = self.table, self.live_replicas()
        return {
            "epoch": table.epoch,
            "models": {name: _route(table, name, replicas) for name in sorted(table.models)},
            "replicas": [_shown(replica) for replica in replicas],
        }

    def model(self, name: str) -> dict[str, Any]:
        """One model's slots. Blocks on the store.

        Raises:
            UnknownModelError: the table does not know it.
        """
        if name not in self.table.models:
            raise UnknownModelError
        table = self.table
        return {"model": name, "epoch": table.epoch, **_route(table, name, self.live_replicas())}

    def health(self) -> dict[str, Any]:
        """Whether this router follows the table, and what is wrong otherwise."""
        issues = [fault for fault in (self._watch.fault,) if fault]
        try:
            self.check()
        except UnavailableError as error:
            issues.append(error.message)
        return {
            "status": "degraded" if issues else "healthy",
            "service": "models",
            "epoch": self.table.epoch,
            "models": len(self.table.models),
            "constitutional_hash": self._constitution.label,
            "issues": issues,
        }

    def offer(self, table: RoutingTable) -> None:
        """Take a table that came by `user_config`."""
        self._watch.offer(table)

    def check(self) -> None:
        """Raise where this replica can no longer follow the table. A store that is down is no reason to end it."""
        if not (self._watch.alive() and self._reporter.alive()):
            raise UnavailableError("a thread of the replica has ended")

    async def close(self) -> None:
        """Drop copies under way."""
        await self._dispatcher.close()

    def stop(self) -> None:
        """Stop following, hand over the last outcomes, sign off. Blocks."""
        self._watch.stop()
        self._reporter.stop()

    def _follow(self, table: RoutingTable) -> None:
        self.metrics.follow(table)
        self._reporter.changed()

    def _state(self) -> ReplicaState:
        return ReplicaState(*self._identity, None, self.table.epoch, self._started_at, time.time())

    def live_replicas(self) -> list[ReplicaState]:
        """Replicas that reported lately. Blocks on the store."""
        return self._store.replicas(alive_since=time.time() - LOST_AFTER_SECONDS)

    def _hand_over(self) -> None:
        windows = self._outcomes.take()
        try:
            self._store.record(windows)
        except AcgsError:
            # Guards read these: a window that was not written is written with the next ones.
            self._outcomes.put_back(windows)
            raise

    def _prune(self) -> None:
        now = time.time()
        if now - self._pruned_at >= PRUNE_SECONDS:
            self._store.prune(before=now - self._keep_seconds)
            self._pruned_at = now


def open_router(identity: ReplicaIdentity, slots: Mapping[Slot, Ask]) -> RouterReplica:
    """A replica from the environment's settings, with the table in force."""
    settings, models = Settings(), ModelSettings()
    constitution = load_locked(settings.constitution_path)
    replica = RouterReplica(
        identity,
        open_serving_store(settings),
        slots,
        constitution=constitution,
        models=models,
    )
    replica.open()
    return replica


def _route(table: RoutingTable, name: str, replicas: list[ReplicaState]) -> dict[str, Any]:
    route = table.models[name]
    return {
        "live": route.live,
        "percent": route.percent,
        "shadow": route.shadow,
        "slots": {slot.value: _slot(route.version_in(slot), slot, name, replicas) for slot in Slot},
    }


def _slot(version: str | None, slot: Slot, name: str, replicas: list[ReplicaState]) -> dict[str, Any] | None:
    if version is None:
        return None
    held = [
        {"replica": replica.replica_id, **holding.model_dump(mode="json", exclude={"model"})}
        for replica in replicas
        if replica.slot is slot
        for holding in replica.versions
        if holding.model == name
    ]
    return {"version": version, "replicas": held}


def _shown(replica: ReplicaState) -> dict[str, Any]:
    return {
        "replica": replica.replica_id,
        "deployment": replica.deployment,
        "slot": replica.slot,
        "epoch": replica.epoch,
        "heartbeat": replica.heartbeat,
    }
