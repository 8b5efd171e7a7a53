"""What was live, and through which deployments, as the events of one model tell it.

The same functions make a history and check it, so that nothing stands in one that no event tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from acgs.audit.entries import Event
from acgs.audit.receipts import Instant, Name
from acgs.errors import IntegrityError
from acgs.release.promotion import STARTED
from acgs.release.ramp import PROMOTED, STEPPED
from acgs.serving.deployments.record import (
    Approval,
    Deployment,
    DeploymentKind,
    DeploymentStatus,
    EvidenceLink,
    RampPlan,
)
from acgs.serving.history import live_spans
from acgs.serving.routing import RoutingTable, SemVer
from acgs.serving.store import RecordedTable

_ASKED_FOR = frozenset({STARTED, STEPPED, PROMOTED})


class Span(BaseModel):
    """One version was live from `begins` to `ends` (None: it still is); `candidate` had `percent` of the callers.

    `actor` made the change, `requested_by` asked for it; `deployment_id` is the deployment that brought `version`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str | None
    candidate: str | None
    percent: int
    epoch: int
    begins: Instant
    ends: Instant | None
    actor: str
    requested_by: str
    deployment_id: str | None


class ToldDeployment(BaseModel):
    """A deployment, as its first event and its latest tell of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    deployment_id: Name
    kind: DeploymentKind
    version: SemVer
    baseline: SemVer | None
    requested_by: Name
    began_at: Instant
    plan: RampPlan
    evidence: tuple[EvidenceLink, ...]
    approvals: tuple[Approval, ...]
    status: DeploymentStatus
    reason: str

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The part of a deployment that events tell."""
        told = deployment.model_dump(include=set(cls.model_fields))
        return cls.model_validate({**told, "began_at": deployment.created_at})


def epoch_of(event: Event) -> int | None:
    """The epoch of the table that came into force with an event; None if none did."""
    epoch = event.details.get("epoch")
    return epoch if isinstance(epoch, int) else None


def derive(model: str, events: Sequence[Event]) -> tuple[tuple[Span, ...], tuple[ToldDeployment, ...]]:
    """What was live, and the deployments in the order in which they began. Events in order.

    Raises:
        IntegrityError: they do not tell a whole story.
    """
    deployments = _deployments(model, events)
    tables = [_table(model, event) for event in events if "epoch" in event.details]
    if [table.table.epoch for table in tables] != sorted({table.table.epoch for table in tables}):
        raise IntegrityError("the epochs of the events do not rise", field="events")
    return spans_of(model, tables, events), deployments


def spans_of(model: str, tables: Sequence[RecordedTable], events: Sequence[Event]) -> tuple[Span, ...]:
    """Who was live by these tables; each takes its time from the event that tells of it, where there is one."""
    told = {epoch: event for event in events if (epoch := epoch_of(event)) is not None}
    timed = [
        replace(table, recorded_at=datetime.fromisoformat(event.occurred_at))
        if (event := told.get(table.table.epoch)) is not None
        else table
        for table in tables
    ]
    requesters = {str(e.details.get("deployment_id")): e.actor for e in events if e.kind == STARTED}
    found = []
    for span in live_spans(timed, model):
        event = told.get(span.epoch)
        asked = None if event is None or event.kind not in _ASKED_FOR else str(event.details.get("deployment_id"))
        found.append(
            Span(
                version=span.version,
                candidate=span.other,
                percent=span.percent,
                epoch=span.epoch,
                begins=_instant(span.begins),
                ends=None if span.ends is None else _instant(span.ends),
                actor=span.actor,
                requested_by=span.actor if asked is None else requesters.get(asked, span.actor),
                deployment_id=_brought(model, span.version, span.epoch, told),
            )
        )
    return tuple(found)


def _brought(model: str, version: str | None, epoch: int, told: Mapping[int, Event]) -> str | None:
    """The last deployment up to an epoch that gave all of the traffic to a version."""
    subject = f"{model}@{version}"
    flips = [e for at, e in told.items() if at <= epoch and e.kind == PROMOTED and e.subject == subject]
    return str(flips[-1].details.get("deployment_id")) if flips else None


def _deployments(model: str, events: Sequence[Event]) -> tuple[ToldDeployment, ...]:
    found: dict[str, ToldDeployment] = {}
    for event in events:
        told = event.details
        if "deployment_id" not in told:
            continue
        name = str(told["deployment_id"])
        before = found.get(name)
        try:
            if event.kind == STARTED and before is None:
                found[name] = _begun(model, event)
            elif before is not None and event.subject == f"{model}@{before.version}":
                changes = {"status": told.get("status"), "reason": told.get("reason")}
                found[name] = ToldDeployment.model_validate({**before.model_dump(), **changes})
            else:
                raise IntegrityError(f"event {event.event_id} is of no deployment that was begun", field="events")
        except ValidationError:
            raise IntegrityError(f"event {event.event_id} does not tell of a deployment", field="events") from None
    return tuple(found.values())


def _begun(model: str, event: Event) -> ToldDeployment:
    names = ("deployment_id", "kind", "baseline", "plan", "evidence", "approvals", "reason")
    return ToldDeployment.model_validate(
        {
            **{name: event.details.get(name) for name in names},
            "version": event.subject.removeprefix(f"{model}@"),
            "requested_by": event.actor,
            "began_at": event.occurred_at,
            "status": DeploymentStatus.PROMOTING,
        }
    )


def _table(model: str, event: Event) -> RecordedTable:
    route = event.details.get("route")
    try:
        table = RoutingTable.model_validate({"epoch": epoch_of(event), "models": {model: route}})
    except ValidationError:
        raise IntegrityError(
            f"event {event.event_id} does not tell the route that came into force", field="events"
        ) from None
    return RecordedTable(table, datetime.fromisoformat(event.occurred_at), event.actor, event.kind)


def _instant(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
