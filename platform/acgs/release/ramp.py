"""The next step of a deployment, from what is seen of it: pure, so that every path of it can be tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from acgs.audit.receipts import utc_instant
from acgs.release.traffic import TrafficReading, TrafficState
from acgs.serving.deployments.record import Deployment, DeploymentKind, DeploymentStatus, Reference, Stage
from acgs.serving.routing import ModelRoute, Slot

STEPPED: Final = "release.stepped"
PROMOTED: Final = "release.promoted"
SETTLED: Final = "release.settled"
FAILED: Final = "release.failed"
ROLLED_BACK: Final = "release.rolled_back"
BREACHED: Final = "release.breached"
"""A breach with nothing to go back to."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is seen of a deployment.

    `failure` says why the slot cannot hold the version. `reference` is how the version before has done of late.
    """

    now: datetime
    route: ModelRoute
    ready: bool
    failure: str | None
    traffic: TrafficReading
    reference: Reference | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A deployment's next state, the route that goes with it (None: as it is), and what is told of it."""

    deployment: Deployment
    kind: str
    route: ModelRoute | None = None
    details: dict[str, JsonValue] = field(default_factory=dict)


def advance(deployment: Deployment, seen: Observation) -> Move | None:
    """The next move, or None while there is nothing to do.

    A stage that has neither good evidence nor time left ends in a 'no'.
    """
    if deployment.stage is Stage.LOADING:
        return _loading(deployment, seen)
    if deployment.stage is Stage.RAMPING:
        return _ramping(deployment, seen)
    if deployment.stage is Stage.WATCHING:
        return _watching(deployment, seen)
    return None


def roll_back(deployment: Deployment, route: ModelRoute, now: datetime, reason: str) -> Move:
    """Give all of the traffic to the version before. The candidate stays in its slot: requests under way are answered.

    Where there is nothing to go back to, the version stays and the breach is told.
    """
    details: dict[str, JsonValue] = {"reason": reason, "baseline": deployment.baseline}
    if deployment.stage is Stage.LOADING:
        return Move(
            _over(deployment, DeploymentStatus.FAILED, now, reason), FAILED, _emptied(route, deployment), details
        )
    if deployment.baseline is None:
        over = _over(deployment, DeploymentStatus.DEPLOYED, now, f"breached, with nothing to go back to: {reason}")
        return Move(over, BREACHED, None, details)
    back = route.model_copy(update={"live": deployment.slot.other, "percent": 0, "shadow": False})
    return Move(_over(deployment, DeploymentStatus.ROLLED_BACK, now, reason), ROLLED_BACK, back, details)


def settle(deployment: Deployment, now: datetime, reason: str) -> Move:
    """End the watch of a version that stays."""
    return Move(_over(deployment, DeploymentStatus.DEPLOYED, now, reason), SETTLED, None, {"reason": reason})


def _loading(deployment: Deployment, seen: Observation) -> Move | None:
    if seen.failure is not None:
        return roll_back(deployment, seen.route, seen.now, seen.failure)
    if not seen.ready:
        waited = _seconds_in_stage(deployment, seen.now)
        if waited <= deployment.plan.load_seconds:
            return None
        return roll_back(deployment, seen.route, seen.now, f"the slot was not ready after {waited:.0f} s")
    started = deployment.model_copy(update={"reference": seen.reference})
    straight = deployment.kind is DeploymentKind.ROLLBACK or deployment.baseline is None
    if straight or deployment.plan.steps[0] == 100:
        return _flip(started, seen)
    return _step(started, seen, 0)


def _ramping(deployment: Deployment, seen: Observation) -> Move | None:
    if seen.failure is not None or not seen.ready:
        return roll_back(deployment, seen.route, seen.now, seen.failure or "the slot lost the version")
    if seen.traffic.state is TrafficState.TRIPPED:
        return _breach(deployment, seen)
    plan, elapsed = deployment.plan, _seconds_in_stage(deployment, seen.now)
    if elapsed >= plan.observe_seconds and seen.traffic.requests >= plan.minimum_requests:
        following = deployment.step + 1
        if plan.steps[following] == 100:
            return _flip(deployment, seen)
        return _step(deployment, seen, following)
    if elapsed > max(plan.give_up_seconds, plan.observe_seconds):
        few = f"{seen.traffic.requests} requests in {elapsed:.0f} s are too few to judge by"
        return roll_back(deployment, seen.route, seen.now, f"no data: {few}")
    return None


def _watching(deployment: Deployment, seen: Observation) -> Move | None:
    if seen.failure is not None:
        return roll_back(deployment, seen.route, seen.now, seen.failure)
    if seen.traffic.state is TrafficState.TRIPPED:
        return _breach(deployment, seen)
    if _seconds_in_stage(deployment, seen.now) < deployment.plan.watch_seconds:
        return None
    over = _over(deployment, DeploymentStatus.DEPLOYED, seen.now, deployment.reason)
    return Move(over, SETTLED, None, _figures(seen.traffic))


def _breach(deployment: Deployment, seen: Observation) -> Move:
    move = roll_back(deployment, seen.route, seen.now, f"the traffic tripped a guard: {seen.traffic.reason}")
    move.details.update(_figures(seen.traffic))
    return move


def _step(deployment: Deployment, seen: Observation, step: int) -> Move:
    moved = _moved(deployment, seen.now, stage=Stage.RAMPING, step=step)
    route = seen.route.model_copy(update={"percent": moved.percent, "shadow": False})
    return Move(moved, STEPPED, route, {"percent": moved.percent, **_figures(seen.traffic)})


def _flip(deployment: Deployment, seen: Observation) -> Move:
    route = seen.route.model_copy(update={"live": deployment.slot, "percent": 0, "shadow": False})
    watched = deployment.kind is DeploymentKind.PROMOTION and deployment.plan.watch_seconds > 0
    last = len(deployment.plan.steps) - 1
    moved = _moved(deployment, seen.now, status=DeploymentStatus.DEPLOYED, stage=Stage.WATCHING, step=last)
    if not watched:
        moved = moved.model_copy(update={"stage": Stage.OVER})
    return Move(moved, PROMOTED, route, {"baseline": deployment.baseline, **_figures(seen.traffic)})


def _over(deployment: Deployment, status: DeploymentStatus, now: datetime, reason: str) -> Deployment:
    return _moved(deployment, now, status=status, stage=Stage.OVER, reason=reason[:2000])


def _moved(deployment: Deployment, now: datetime, **changes: object) -> Deployment:
    at = utc_instant(now)
    return deployment.model_copy(update={**changes, "stage_since": at, "updated_at": at})


def _emptied(route: ModelRoute, deployment: Deployment) -> ModelRoute:
    """The route without a version that could not be loaded, so that no replica tries for ever."""
    slot = "blue" if deployment.slot is Slot.BLUE else "green"
    return route.model_copy(update={slot: None, "percent": 0, "shadow": False})


def _seconds_in_stage(deployment: Deployment, now: datetime) -> float:
    return (now - datetime.fromisoformat(deployment.stage_since)).total_seconds()


def _figures(traffic: TrafficReading) -> dict[str, JsonValue]:
    return {
        "requests": traffic.requests,
        "errors": traffic.errors,
        "guards": [dict(guard.as_json()) for guard in traffic.guards],
    }
