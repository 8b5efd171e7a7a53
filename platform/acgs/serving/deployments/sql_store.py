"""The deployment store in the platform's database: a change, its routes and its event are one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.sql_lifecycle import SUBJECT, append_event
from acgs.serving.deployments.documents import SignedDocument
from acgs.serving.deployments.record import Deployment, Stage
from acgs.serving.deployments.store import (
    Change,
    DeploymentBusyError,
    StaleDeploymentError,
    UnknownDeploymentError,
)
from acgs.serving.deployments.tables import DEPLOYMENT_TABLE, DOCUMENT_TABLE
from acgs.serving.sql_store import append_table
from acgs.storage.transactions import reading, writing

_DEPLOYMENT = DEPLOYMENT_TABLE.c
_DOCUMENT = DOCUMENT_TABLE.c


class SqlDeploymentStore:
    """`DeploymentStore` over an engine that `acgs.storage.migrate.upgrade` has prepared. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, change: Change) -> Deployment:
        """See `DeploymentStore.begin`."""
        with writing(self._engine, SUBJECT) as connection:
            busy = select(_DEPLOYMENT.body).where(_DEPLOYMENT.model == change.deployment.model, _DEPLOYMENT.active)
            if (other := connection.execute(busy).scalar()) is not None:
                raise _busy(Deployment.model_validate_json(other))
            number = (connection.execute(select(func.max(_DEPLOYMENT.number))).scalar() or 0) + 1
            kept = change.deployment.model_copy(update={"number": number, "revision": 1})
            connection.execute(insert(DEPLOYMENT_TABLE).values(_columns(kept)))
            _carry_out(connection, change)
        return kept

    def change(self, change: Change) -> Deployment:
        """See `DeploymentStore.change`."""
        with writing(self._engine, SUBJECT) as connection:
            kept = _replace(connection, change.deployment)
            _carry_out(connection, change)
        return kept

    def get(self, deployment_id: str) -> Deployment:
        """See `DeploymentStore.get`."""
        query = select(_DEPLOYMENT.body).where(_DEPLOYMENT.deployment_id == deployment_id)
        with reading(self._engine) as connection:
            body = connection.execute(query).scalar()
        if body is None:
            raise UnknownDeploymentError(f"there is no deployment {deployment_id[:64]!r}", field="deployment_id")
        return Deployment.model_validate_json(body)

    def active(self) -> list[Deployment]:
        """See `DeploymentStore.active`."""
        query = select(_DEPLOYMENT.body).where(_DEPLOYMENT.active).order_by(_DEPLOYMENT.number)
        with reading(self._engine) as connection:
            return [Deployment.model_validate_json(body) for body in connection.execute(query).scalars()]

    def of_model(self, model: str | None = None, *, limit: int | None = None) -> list[Deployment]:
        """See `DeploymentStore.of_model`."""
        query = select(_DEPLOYMENT.body).order_by(_DEPLOYMENT.number.desc()).limit(limit)
        if model is not None:
            query = query.where(_DEPLOYMENT.model == model)
        with reading(self._engine) as connection:
            return [Deployment.model_validate_json(body) for body in connection.execute(query).scalars()]

    def add_document(self, document: SignedDocument, event: LifecycleEvent) -> None:
        """See `DeploymentStore.add_document`."""
        inner, digest = document.document, document.document.digest()
        with writing(self._engine, SUBJECT) as connection:
            if connection.execute(select(_DOCUMENT.number).where(_DOCUMENT.digest == digest)).scalar() is not None:
                return
            values = {
                "digest": digest,
                "number": (connection.execute(select(func.max(_DOCUMENT.number))).scalar() or 0) + 1,
                "kind": inner.kind,
                "model": inner.model,
                "version": inner.version,
                "body": document.model_dump_json(),
            }
            connection.execute(insert(DOCUMENT_TABLE).values(values))
            append_event(connection, event)

    def document(self, digest: str) -> SignedDocument:
        """See `DeploymentStore.document`."""
        with reading(self._engine) as connection:
            body = connection.execute(select(_DOCUMENT.body).where(_DOCUMENT.digest == digest)).scalar()
        if body is None:
            raise UnknownDeploymentError(f"there is no document {digest[:64]!r}", field="digest")
        return SignedDocument.model_validate_json(body)

    def documents(self, model: str, version: str, kind: str) -> list[SignedDocument]:
        """See `DeploymentStore.documents`."""
        query = (
            select(_DOCUMENT.body)
            .where(_DOCUMENT.model == model, _DOCUMENT.version == version, _DOCUMENT.kind == kind)
            .order_by(_DOCUMENT.number.desc())
        )
        with reading(self._engine) as connection:
            return [SignedDocument.model_validate_json(body) for body in connection.execute(query).scalars()]


def _carry_out(connection: Connection, change: Change) -> None:
    event = change.event
    if change.routes is not None:
        reason = f"{event.kind} {event.subject}"
        table = append_table(
            connection, change.routes, actor=event.actor, reason=reason, expected_epoch=change.expected_epoch
        )
        event = replace(event, details={**event.details, "epoch": table.epoch})
    append_event(connection, event)


def _replace(connection: Connection, deployment: Deployment) -> Deployment:
    kept = deployment.model_copy(update={"revision": deployment.revision + 1})
    done = connection.execute(
        update(DEPLOYMENT_TABLE)
        .where(_DEPLOYMENT.deployment_id == kept.deployment_id, _DEPLOYMENT.revision == deployment.revision)
        .values(_columns(kept))
    )
    if not done.rowcount:
        raise StaleDeploymentError(
            "somebody else moved this deployment on; look at it with 'acgs release status' and repeat", field="revision"
        )
    return kept


def _columns(deployment: Deployment) -> dict[str, Any]:
    return {
        "deployment_id": deployment.deployment_id,
        "number": deployment.number,
        "revision": deployment.revision,
        "model": deployment.model,
        "active": deployment.active,
        "body": deployment.model_dump_json(),
    }


def _busy(other: Deployment) -> DeploymentBusyError:
    if other.stage is Stage.WATCHING:
        advice = "say --end-watch to go on without the version before, or roll it back"
        return DeploymentBusyError(f"{other.model} {other.version} is still watched; wait, {advice}", field="model")
    return DeploymentBusyError(
        f"{other.model} {other.version} is under way; wait for it ('acgs release status'), or roll it back",
        field="model",
    )
