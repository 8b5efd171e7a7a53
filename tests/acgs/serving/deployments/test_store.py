"""The contract of the deployment store, on every database: a change, its routes and its event are one."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from acgs.audit.keys import SigningKey
from acgs.audit.receipts import utc_instant
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.release.documents import sign_document
from acgs.serving.deployments.documents import Document, SignedDocument
from acgs.serving.deployments.record import Deployment, DeploymentKind, DeploymentStatus, Stage
from acgs.serving.deployments.sql_store import SqlDeploymentStore
from acgs.serving.deployments.store import (
    Change,
    DeploymentBusyError,
    StaleDeploymentError,
    UnknownDeploymentError,
)
from acgs.serving.routing import ModelRoute, Slot
from acgs.serving.sql_store import SqlServingStore
from acgs.serving.store import StaleTableError

LOADING = ModelRoute(blue="1.0.0", live=Slot.GREEN)


@pytest.fixture
def deployments(engine: Engine) -> SqlDeploymentStore:
    return SqlDeploymentStore(engine)


@pytest.fixture
def serving(engine: Engine) -> SqlServingStore:
    return SqlServingStore(engine)


def new(identity: str = "d1", model: str = "triage") -> Deployment:
    at = utc_instant()
    return Deployment(
        deployment_id=identity,
        kind=DeploymentKind.PROMOTION,
        model=model,
        version="1.0.0",
        slot=Slot.BLUE,
        status=DeploymentStatus.PROMOTING,
        stage=Stage.LOADING,
        stage_since=at,
        requested_by="mia",
        created_at=at,
        updated_at=at,
    )


def event(deployment: Deployment) -> LifecycleEvent:
    return LifecycleEvent("release.started", "mia", deployment.model, deployment.version)


def document(verdict: str = "PASS") -> SignedDocument:
    made = Document.model_validate(
        {
            "kind": "staging",
            "model": "triage",
            "version": "1.0.0",
            "facts_digest": "a" * 64,
            "constitution_digest": "b" * 64,
            "verdict": verdict,
            "body": {"n": 7},
            "made_by": "mia",
            "made_at": utc_instant(),
        }
    )
    return sign_document(made, SigningKey.generate())


def test_a_deployment_its_table_and_its_event_come_together(
    deployments: SqlDeploymentStore, serving: SqlServingStore, engine: Engine
) -> None:
    kept = deployments.begin(Change(new(), event(new()), {"triage": LOADING}, 0))
    assert (kept.number, kept.revision) == (1, 1)
    assert deployments.get("d1") == kept
    assert deployments.active() == [kept]
    assert serving.latest().models == {"triage": LOADING}
    (told,) = SqlEventLog(engine).events()
    assert told.details["epoch"] == serving.epoch() == 1


def test_nothing_of_a_change_stays_when_the_routes_moved_on(
    deployments: SqlDeploymentStore, serving: SqlServingStore, engine: Engine
) -> None:
    serving.append({}, actor="noor", reason="other")
    with pytest.raises(StaleTableError):
        deployments.begin(Change(new(), event(new()), {"triage": LOADING}, 0))
    assert deployments.active() == []
    assert SqlEventLog(engine).events() == []
    assert serving.epoch() == 1


def test_a_model_has_one_deployment_under_way(deployments: SqlDeploymentStore) -> None:
    first = deployments.begin(Change(new(), event(new())))
    with pytest.raises(DeploymentBusyError, match="under way"):
        deployments.begin(Change(new("d2"), event(new("d2"))))
    deployments.begin(Change(new("d3", "intake"), event(new("d3", "intake"))))
    deployments.change(Change(first.model_copy(update={"stage": Stage.OVER}), event(first)))
    again = deployments.begin(Change(new("d2"), event(new("d2"))))
    assert again.number == 3
    assert [d.deployment_id for d in deployments.of_model("triage")] == ["d2", "d1"]
    assert [d.deployment_id for d in deployments.of_model(limit=1)] == ["d2"]


def test_two_who_move_the_same_deployment_make_one_move(deployments: SqlDeploymentStore, engine: Engine) -> None:
    first = deployments.begin(Change(new(), event(new())))
    moved = deployments.change(Change(first.model_copy(update={"step": 1}), event(first)))
    assert moved.revision == 2
    with pytest.raises(StaleDeploymentError):
        deployments.change(Change(first.model_copy(update={"step": 2}), event(first)))
    assert deployments.get("d1").step == 1
    assert len(SqlEventLog(engine).events()) == 2


def test_a_document_is_kept_once_and_found_by_digest_and_version(
    deployments: SqlDeploymentStore, engine: Engine
) -> None:
    first, second = document(), document("FAIL")
    for signed in (first, first, second):
        deployments.add_document(signed, event(new()))
    assert deployments.document(first.document.digest()) == first
    assert deployments.documents("triage", "1.0.0", "staging") == [second, first]
    assert deployments.documents("triage", "1.0.0", "contract") == []
    assert len(SqlEventLog(engine).events()) == 2


def test_what_is_not_there_is_said_to_be_missing(deployments: SqlDeploymentStore) -> None:
    with pytest.raises(UnknownDeploymentError):
        deployments.get("nope")
    with pytest.raises(UnknownDeploymentError):
        deployments.document("0" * 64)
