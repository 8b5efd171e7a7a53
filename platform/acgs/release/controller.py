"""Moves every deployment on, from what replicas and traffic say. Any number may run; each move is made once.

State lies in the stores alone: a controller that dies is followed by the next where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from acgs.registry.lifecycle import LifecycleEvent
from acgs.release.ramp import Move, Observation, advance
from acgs.release.traffic import (
    TrafficReading,
    TrafficState,
    judge_against,
    judge_side_by_side,
    reference_from,
)
from acgs.serving.deployments.record import Deployment, Reference, Stage
from acgs.serving.deployments.store import Change, DeploymentStore, StaleDeploymentError
from acgs.serving.replicas import LOST_AFTER_SECONDS, Phase, slot_readiness
from acgs.serving.routing import ModelRoute
from acgs.serving.store import ServingStore, StaleTableError

ACTOR: Final = "controller"
REFERENCE_SPAN: Final = timedelta(minutes=10)
"""How far back the version before is looked at when it is frozen as a reference."""
_NOTHING: Final = TrafficReading(TrafficState.NO_DATA, 0, 0)


class ReleaseController:
    """One look at all active deployments a call."""

    def __init__(
        self,
        deployments: DeploymentStore,
        serving: ServingStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._deployments = deployments
        self._serving = serving
        self._clock = clock

    def tick(self) -> list[Deployment]:
        """Make the moves that are due; those that were made.

        Raises:
            UnavailableError: the stores cannot be used; nothing was moved.
        """
        moved = []
        for deployment in self._deployments.active():
            try:
                kept = self._move(deployment)
            except (StaleDeploymentError, StaleTableError):
                continue  # another controller, or a person, was first: look again at the next tick
            if kept is not None:
                moved.append(kept)
        return moved

    def _move(self, deployment: Deployment) -> Deployment | None:
        table = self._serving.latest()
        route = table.models.get(deployment.model, ModelRoute())
        move = advance(deployment, self._observe(deployment, route))
        if move is None:
            return None
        return self._deployments.change(change_of(move, table.models, epoch=table.epoch, actor=ACTOR))

    def _observe(self, deployment: Deployment, route: ModelRoute) -> Observation:
        now = self._clock()
        replicas = self._serving.replicas(alive_since=now.timestamp() - LOST_AFTER_SECONDS)
        wanted = (deployment.model, deployment.version)
        held = [h for r in replicas if r.slot is deployment.slot for h in r.versions if (h.model, h.version) == wanted]
        failed = [holding.reason for holding in held if holding.phase is Phase.FAILED]
        ready = slot_readiness(replicas, deployment.slot, deployment.model, deployment.version).ready
        return Observation(
            now=now,
            route=route,
            ready=ready,
            failure=f"the version cannot be served: {failed[0]}" if failed else None,
            traffic=self._traffic(deployment),
            reference=self._reference(deployment, now) if deployment.stage is Stage.LOADING and ready else None,
        )

    def _traffic(self, deployment: Deployment) -> TrafficReading:
        since = datetime.fromisoformat(deployment.stage_since).timestamp()
        candidate = self._serving.windows(deployment.model, since=since, version=deployment.version)
        if deployment.stage is Stage.RAMPING:
            baseline = self._serving.windows(deployment.model, since=since, version=deployment.baseline)
            return judge_side_by_side(candidate, baseline, deployment.plan, deployment.reference)
        if deployment.stage is Stage.WATCHING:
            return judge_against(candidate, deployment.reference, deployment.plan)
        return _NOTHING

    def _reference(self, deployment: Deployment, now: datetime) -> Reference | None:
        if deployment.baseline is None:
            return None
        since = (now - REFERENCE_SPAN).timestamp()
        return reference_from(self._serving.windows(deployment.model, since=since, version=deployment.baseline))


def change_of(move: Move, routes: Mapping[str, ModelRoute], *, epoch: int, actor: str) -> Change:
    """A move as one transaction: the deployment, the table with its route in it, the event."""
    deployment = move.deployment
    details = {
        **move.details,
        "deployment_id": deployment.deployment_id,
        "status": deployment.status,
        "reason": deployment.reason,
    }
    if move.route is not None:
        details["route"] = move.route.model_dump(mode="json")
    event = LifecycleEvent(move.kind, actor, deployment.model, deployment.version, details)
    if move.route is None:
        return Change(deployment, event)
    return Change(deployment, event, {**routes, deployment.model: move.route}, epoch)
