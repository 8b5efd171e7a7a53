"""Beginning a promotion, and going back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Final, ParamSpec
from uuid import uuid4

from acgs.audit.receipts import utc_instant
from acgs.errors import AcgsError, InvalidInputError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.release.controller import change_of
from acgs.release.ramp import roll_back, settle
from acgs.release.requirements import Grounds, NotReleasableError
from acgs.serving.deployments.record import (
    Deployment,
    DeploymentKind,
    DeploymentStatus,
    RampPlan,
    Stage,
)
from acgs.serving.deployments.store import Change, DeploymentStore, StaleDeploymentError
from acgs.serving.routing import ModelRoute, RoutingTable, Slot
from acgs.serving.store import ServingStore, StaleTableError

STARTED: Final = "release.started"
_P = ParamSpec("_P")
_TRIES: Final = 8
"""Of one change, where routes of other models, or a ramp's step, come in between."""


class NothingToGoBackToError(AcgsError):
    """No earlier version was deployed."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Target:
    """A version that is to become live, and what it rests on."""

    model: str
    version: str
    grounds: Grounds


def live_version(table: RoutingTable, model: str) -> str | None:
    """What answers for a model now; None if nothing does."""
    route = table.models.get(model)
    return None if route is None else route.version_in(route.live)


def _again_where_routes_changed(change: Callable[_P, Deployment]) -> Callable[_P, Deployment]:
    """Try a change again where routes, of other models mostly, changed while it was made: each try looks at them."""

    @wraps(change)
    def trying(*arguments: _P.args, **options: _P.kwargs) -> Deployment:
        for _ in range(_TRIES - 1):
            with suppress(StaleTableError, StaleDeploymentError):
                return change(*arguments, **options)
        return change(*arguments, **options)

    return trying


@_again_where_routes_changed
def begin(
    deployments: DeploymentStore,
    serving: ServingStore,
    target: Target,
    plan: RampPlan,
    *,
    against: str | None,
    actor: str,
    end_watch: bool = False,
    reason: str = "",
) -> Deployment:
    """Put a version into the idle slot of its model; the controller does the rest.

    `against` is the live version against which the grounds hold it; they say nothing of another. A first version that
    is still watched has nothing to go back to, so its watch ends; that of another ends only if `end_watch` says so,
    because the version it would go back to leaves its slot. A version that was taken back needs a reason to go out
    again: what it rests on did not foresee what took it back.

    Raises:
        InvalidInputError: it is live already.
        NotReleasableError: another version became live since the grounds were judged; it was taken back, and no reason
            is given.
        DeploymentBusyError: another deployment of the model is under way.
    """
    table = serving.latest()
    live = live_version(table, target.model)
    if live == target.version:
        raise InvalidInputError(f"{target.model} {target.version} is live already", field="version")
    if live != against:
        raise NotReleasableError(
            f"{live or 'nothing'} is live by now, and {target.version} was held against {against or 'nothing'}; run "
            f"'acgs release contract {target.model}@{target.version}' again",
            field="version",
        )
    before = taken_back(deployments.of_model(target.model), target.version)
    if before is not None and not reason.strip():
        raise NotReleasableError(
            f"{target.model} {target.version} was taken back at {before.updated_at} ({before.reason}); to promote it "
            "again say why: --reason",
            field="reason",
        )
    watched = next((d for d in deployments.active() if d.model == target.model and d.stage is Stage.WATCHING), None)
    if watched is not None and (end_watch or watched.baseline is None):
        ended = settle(watched, datetime.now(UTC), f"ended by the promotion of {target.version}")
        deployments.change(change_of(ended, {}, epoch=table.epoch, actor=actor))
    return _start(deployments, table, target, plan, DeploymentKind.PROMOTION, actor=actor, reason=reason)


def taken_back(history: Sequence[Deployment], version: str) -> Deployment | None:
    """The deployment that took a version back; None where none did, or it went out again. History is latest first."""
    for deployment in history:
        if deployment.status is DeploymentStatus.ROLLED_BACK and deployment.version == version:
            return deployment
        if deployment.status is DeploymentStatus.DEPLOYED:
            if deployment.version == version:
                return None
            if deployment.kind is DeploymentKind.ROLLBACK and deployment.baseline == version:
                return deployment
    return None


def needed_versions(deployments: DeploymentStore, serving: ServingStore) -> list[str]:
    """References of what answers, of what lies ready in a slot, and of what a rollback would bring back."""
    table = serving.latest()
    needed = {f"{name}@{version}" for name, version in table.versions()}
    for name in table.models:
        earlier = _earlier(deployments.of_model(name), live_version(table, name))
        if earlier is not None:
            needed.add(f"{name}@{earlier.version}")
    return sorted(needed)


def go_back(
    deployments: DeploymentStore, serving: ServingStore, model: str, *, actor: str, reason: str, only: str | None = None
) -> Deployment:
    """Bring the version before back: at once where it is still in its slot, else as soon as it is loaded.

    Args:
        only: the version that has to go; default: the one under way, or else the live one. Where another stands there
            by now, somebody else took it back, and going back once more would be one version too far.

    Raises:
        NothingToGoBackToError: no earlier version was deployed, or the version that has to go is gone.
        InvalidInputError: no reason is given.
    """
    if not reason.strip():
        raise InvalidInputError("say why; it stands in the record", field="reason")
    if only is None:
        only = _standing(serving.latest(), deployments.of_model(model), model)
    return _take_back(deployments, serving, model, only, actor=actor, reason=reason)


def _standing(table: RoutingTable, history: Sequence[Deployment], model: str) -> str | None:
    """The version under way, or else the live one."""
    active = next((deployment for deployment in history if deployment.active), None)
    return live_version(table, model) if active is None else active.version


@_again_where_routes_changed
def _take_back(
    deployments: DeploymentStore, serving: ServingStore, model: str, version: str | None, *, actor: str, reason: str
) -> Deployment:
    table, history = serving.latest(), deployments.of_model(model)
    if _standing(table, history, model) != version:
        raise NothingToGoBackToError(f"{model} {version} is neither under way nor live any more", field="model")
    active = next((deployment for deployment in history if deployment.active), None)
    if active is not None and (active.stage is not Stage.WATCHING or active.baseline is not None):
        route = table.models.get(model, ModelRoute())
        move = roll_back(active, route, datetime.now(UTC), reason)
        return deployments.change(change_of(move, dict(table.models), epoch=table.epoch, actor=actor))
    earlier = _earlier(history, live_version(table, model))
    if earlier is None:
        raise NothingToGoBackToError(
            f"there is nothing to go back to: every other version of {model} was taken back, or there never was one",
            field="model",
        )
    target = Target(model, earlier.version, Grounds(earlier.evidence, earlier.approvals))
    return _start(deployments, table, target, RampPlan(), DeploymentKind.ROLLBACK, actor=actor, reason=reason)


def _earlier(history: Sequence[Deployment], live: str | None) -> Deployment | None:
    """The last deployment that went well, was not taken back, and is not the present one. History is latest first."""
    standing: list[Deployment] = []
    for deployment in reversed(history):
        if deployment.status is DeploymentStatus.ROLLED_BACK:
            standing = [found for found in standing if found.version != deployment.version]
        elif deployment.status is DeploymentStatus.DEPLOYED:
            if deployment.kind is DeploymentKind.ROLLBACK:
                standing = [found for found in standing if found.version != deployment.baseline]
            standing.append(deployment)
    return next((found for found in reversed(standing) if found.version != live), None)


def _start(
    deployments: DeploymentStore,
    table: RoutingTable,
    target: Target,
    plan: RampPlan,
    kind: DeploymentKind,
    *,
    actor: str,
    reason: str,
) -> Deployment:
    route = table.models.get(target.model, ModelRoute(live=Slot.GREEN))
    slot, now = route.live.other, utc_instant()
    deployment = Deployment(
        deployment_id=str(uuid4()),
        kind=kind,
        model=target.model,
        version=target.version,
        baseline=route.version_in(route.live),
        slot=slot,
        status=DeploymentStatus.PROMOTING,
        stage=Stage.LOADING,
        plan=plan,
        stage_since=now,
        evidence=target.grounds.evidence,
        approvals=target.grounds.approvals,
        requested_by=actor,
        reason=reason,
        created_at=now,
        updated_at=now,
    )
    shadow = plan.shadow and deployment.baseline is not None
    loading = ModelRoute.model_validate(
        {**route.model_dump(), slot.value: target.version, "percent": 0, "shadow": shadow}
    )
    event = LifecycleEvent(
        STARTED,
        actor,
        target.model,
        target.version,
        {
            "deployment_id": deployment.deployment_id,
            "kind": kind,
            "baseline": deployment.baseline,
            "evidence": [link.model_dump() for link in deployment.evidence],
            "approvals": [approval.model_dump() for approval in deployment.approvals],
            "plan": plan.model_dump(mode="json"),
            "reason": reason,
            "route": loading.model_dump(mode="json"),
        },
        occurred_at=now,
    )
    return deployments.begin(Change(deployment, event, {**table.models, target.model: loading}, table.epoch))
