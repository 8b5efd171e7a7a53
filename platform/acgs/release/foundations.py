"""What a deployment needed to rest on, as the events tell it: so that nobody could promote past the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from acgs.audit.entries import Event
from acgs.release.derivation import ToldDeployment
from acgs.release.promotion import STARTED
from acgs.release.told import latest_told
from acgs.serving.deployments.documents import Document, DocumentKind
from acgs.serving.deployments.record import DeploymentKind
from acgs.serving.routing import ModelRoute


def unfounded(
    model: str,
    deployment: ToldDeployment,
    deployments: Sequence[ToldDeployment],
    events: Sequence[Event],
    known: Mapping[str, Document],
) -> list[str]:
    """What one of a model's deployments should rest on and does not, by the rule of `acgs.release.requirements.judge`.

    A promotion rests on the latest staging and, where it replaces a version, on the latest contract against that
    version; who goes back takes over what an earlier deployment of the version rested on. What the documents say is not
    looked at here.
    """
    if deployment.kind is DeploymentKind.ROLLBACK:
        earlier = deployments[: deployments.index(deployment)]
        grounds = (deployment.version, deployment.evidence, deployment.approvals)
        taken_over = any((e.version, e.evidence, e.approvals) == grounds for e in earlier)
        return [] if taken_over else ["was gone back to on other grounds than it was deployed on before"]
    before = _before(events, deployment)
    live = _live_after(before)
    faults = []
    if deployment.baseline != live:
        faults.append(f"is said to replace {deployment.baseline or 'nothing'}, but {live or 'nothing'} was live")
    needed: list[tuple[DocumentKind, str | None]] = [("staging", None)]
    if live is not None:
        needed.append(("contract", live))
    for kind, baseline in needed:
        against = f" against {baseline}" if baseline else ""
        linked = [link.digest for link in deployment.evidence if link.kind == kind]
        linked = [digest for digest in linked if digest not in known or known[digest].baseline == baseline]
        if not linked:
            faults.append(f"rests on no {kind}{against}")
        elif linked != [latest_told(before, f"{model}@{deployment.version}", kind, baseline)]:
            faults.append(f"rests on another {kind}{against} than the latest that the events tell of before it")
    return faults


def _before(events: Sequence[Event], deployment: ToldDeployment) -> Sequence[Event]:
    """The events up to the one with which a deployment began."""
    for number, event in enumerate(events):
        if event.kind == STARTED and event.details.get("deployment_id") == deployment.deployment_id:
            return events[:number]
    return events


def _live_after(events: Sequence[Event]) -> str | None:
    """The version in the live slot of the last route that came into force."""
    for event in reversed(events):
        if "epoch" not in event.details:
            continue
        try:
            route = ModelRoute.model_validate(event.details.get("route"))
        except ValidationError:  # `acgs.release.derivation.derive` says so
            return None
        return route.version_in(route.live)
    return None
