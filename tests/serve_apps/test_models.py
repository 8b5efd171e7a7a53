"""The models application over HTTP, with real slots in this process instead of Ray's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from acgs.constitution.lock import LockedConstitution
from acgs.serving.desk import Reply
from acgs.serving.dispatch import Ask
from acgs.serving.fetching import FolderStore
from acgs.serving.routing import ModelRoute, Slot
from acgs.serving.sql_store import SqlServingStore
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade
from serve_apps.models_router import RouterReplica
from serve_apps.models_routes import build_app
from serve_apps.models_settings import ModelSettings
from serve_apps.models_slot import ReplicaIdentity, SlotReplica, table_of
from tests.acgs.serving.models import write_constant, write_sklearn

PREDICT = "/constant/predict"
GOOD = {"instances": [[0.5, 0.5]]}


class Application:
    """Router and two slots over one database."""

    def __init__(self, folder: Path, engine: Engine, constitution: LockedConstitution, **limits: Any) -> None:
        self.store = SqlServingStore(engine)
        models = ModelSettings(poll_seconds=0.01, model_folder=folder, **limits)
        self.slots = {
            slot: SlotReplica(
                slot, ReplicaIdentity(f"{slot}-1", f"Slot{slot}"), self.store, FolderStore(folder), models=models
            )
            for slot in Slot
        }
        self.router = RouterReplica(
            ReplicaIdentity("router-1", "ModelRouter"), self.store, {slot: self._ask(slot) for slot in Slot},
            constitution=constitution, models=models,
        )  # fmt: skip
        for replica in self.slots.values():
            replica.open()
        self.router.open()
        self.client = TestClient(build_app(self.router, self.describe), raise_server_exceptions=False)
        # One event loop for all requests: a copy for the shadow outlives the request that it is of.
        self.client.__enter__()

    def _ask(self, slot: Slot) -> Ask:
        async def ask(model: str, version: str, question: bytes) -> Reply:
            return await self.slots[slot].desk.ask(model, version, question)

        return ask

    async def describe(self, slot: str, model: str, version: str) -> dict[str, Any]:
        return self.slots[Slot(slot)].desk.describe(model, version)

    def route(self, model: str = "constant", **fields: Any) -> None:
        models = {**self.store.latest().models, model: ModelRoute(**fields)}
        epoch = self.store.append(models, actor="mia", reason="r").epoch
        wait_for(lambda: self.router.table.epoch == epoch)
        wait_for(lambda: all(replica.epoch == epoch for replica in self.store.replicas(alive_since=0.0)))
        wait_for(lambda: "loading" not in self.client.get("").text)

    def close(self) -> None:
        self.client.__exit__(None, None, None)
        self.router.stop()
        for slot in self.slots.values():
            slot.close()


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_constant(folder / "constant" / "1.0.0", 1.0)
    write_constant(folder / "constant" / "2.0.0", 2.0)
    write_sklearn(folder / "forest" / "1.0.0-rc.1")
    return folder


@pytest.fixture
def opened(folder: Path, tmp_path: Path, constitution: LockedConstitution) -> Iterator[Callable[..., Application]]:
    engine = open_engine(default_url(tmp_path))
    upgrade(engine)
    applications: list[Application] = []

    def make(**limits: Any) -> Application:
        limits = {"requests_per_second": 1e6, "request_burst": 10**6} | limits
        applications.append(Application(folder, engine, constitution, **limits))
        return applications[-1]

    yield make
    for application in applications:
        application.close()
    engine.dispose()


def test_a_prediction_says_who_made_it(opened: Callable[..., Application], constitution: LockedConstitution) -> None:
    app = opened()
    app.route(blue="1.0.0")
    response = app.client.post(PREDICT, json={**GOOD, "constitutional_hash": constitution.digest})
    assert response.status_code == 200, response.text
    assert response.json() == {
        "model": "constant", "version": "1.0.0", "slot": "blue", "epoch": 1, "predictions": [1.0],
        "constitutional_hash": constitution.label,
    }  # fmt: skip
    assert response.headers["x-acgs-epoch"] == "1"
    assert response.headers["x-correlation-id"]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/nobody/predict", GOOD, 404, "model"),
        (PREDICT, {"instances": [[0.5, "x"]]}, 422, "instances.0.1"),
        (PREDICT, {"instances": [[0.5]]}, 422, "instances.0"),
        (PREDICT, {"instances": []}, 422, "instances"),
        (PREDICT, {"instances": [[0, 0]] * 1025}, 422, "instances"),
        (PREDICT, {}, 422, "instances"),
        (PREDICT, [], 422, "body"),
        (PREDICT, {**GOOD, "parameters": {"depth": 3}}, 422, "parameters.depth"),
        (PREDICT, {**GOOD, "surprise": 1}, 422, "surprise"),
        (PREDICT, {**GOOD, "constitutional_hash": "0" * 16}, 400, "constitutional_hash"),
        ("/NOBODY/predict", GOOD, 422, "name"),
    ],
)
def test_a_request_that_cannot_be_answered_is_told_why(
    opened: Callable[..., Application], path: str, body: Any, status: int, field: str
) -> None:
    app = opened()
    app.route(blue="1.0.0")
    response = app.client.post(path, json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (status, field), response.text


@pytest.mark.parametrize("body", [b"{", b'{"instances": [[NaN, 1]]}', b'{"instances": [], "instances": [[1, 2]]}'])
def test_what_is_not_json_is_refused(opened: Callable[..., Application], body: bytes) -> None:
    app = opened()
    app.route(blue="1.0.0")
    assert app.client.post(PREDICT, content=body).status_code == 400


def test_limits_of_size_and_rate_hold(opened: Callable[..., Application]) -> None:
    app = opened(requests_per_second=0.001, request_burst=2, max_body_bytes=100)
    app.route(blue="1.0.0")
    assert app.client.post(PREDICT, content=b" " * 101).status_code == 413
    assert [app.client.post(PREDICT, json=GOOD).status_code for _ in range(3)] == [200, 200, 429]


def test_a_staged_model_without_a_live_version_is_503(opened: Callable[..., Application]) -> None:
    app = opened()
    app.route(green="1.0.0")
    response = app.client.post(PREDICT, json=GOOD)
    assert response.status_code == 503
    assert "no version of constant is deployed" in response.json()["detail"]


def test_a_version_that_cannot_be_loaded_is_503_with_the_reason_and_the_flip_back_answers(
    opened: Callable[..., Application],
) -> None:
    app = opened()
    app.route(blue="1.0.0", green="3.0.0")
    shown = app.client.get("/constant").json()["slots"]
    assert shown["green"]["replicas"][0]["phase"] == "failed"
    assert "no folder for constant 3.0.0" in shown["green"]["replicas"][0]["reason"]
    app.route(blue="1.0.0", green="3.0.0", live="green")
    response = app.client.post(PREDICT, json=GOOD)
    assert response.status_code == 503
    assert "no folder for constant 3.0.0" in response.json()["detail"]
    app.route(blue="1.0.0", green="3.0.0")
    assert app.client.post(PREDICT, json=GOOD).json()["version"] == "1.0.0"


def test_a_session_stays_with_its_slot_and_a_ramp_splits_sessions(opened: Callable[..., Application]) -> None:
    app = opened()
    app.route(blue="1.0.0", green="2.0.0", percent=50)
    answers: dict[str, set[str]] = {}
    for number in range(40):
        headers = {"x-session-id": f"session-{number % 20}"}
        answer = app.client.post(PREDICT, json=GOOD, headers=headers).json()
        answers.setdefault(headers["x-session-id"], set()).add(answer["version"])
    assert all(len(versions) == 1 for versions in answers.values())
    assert set.union(*answers.values()) == {"1.0.0", "2.0.0"}


def test_models_are_listed_with_slots_states_and_schemas(opened: Callable[..., Application]) -> None:
    app = opened()
    app.route(blue="1.0.0", green="2.0.0")
    app.route("forest", blue="1.0.0-rc.1")
    listed = app.client.get("").json()
    assert listed["epoch"] == 2
    assert listed["models"].keys() == {"constant", "forest"}
    held = listed["models"]["constant"]["slots"]["green"]
    assert held["version"] == "2.0.0"
    assert held["replicas"][0]["phase"] == "ready"
    assert {replica["deployment"] for replica in listed["replicas"]} == {"ModelRouter", "Slotblue", "Slotgreen"}
    one = app.client.get("/forest").json()
    assert one["slots"]["blue"]["kind"] == "sklearn"
    assert one["slots"]["blue"]["input"]["type"] == "array"
    assert one["slots"]["green"] is None
    assert app.client.get("/nobody").status_code == 404


def test_metrics_count_by_bounded_labels_and_forget_versions_that_left(opened: Callable[..., Application]) -> None:
    app = opened()
    app.route(blue="1.0.0", green="2.0.0")
    app.route("forest", blue="1.0.0-rc.1")
    app.client.post(PREDICT, json=GOOD)
    app.client.post("/forest/predict", json={"instances": [[2.0, 0.0]]})
    for number in range(5):
        app.client.post(f"/made-up-{number}/predict", json=GOOD)
    text = app.client.get("/metrics").text
    assert 'acgs_model_requests_total{model="constant",outcome="answered",slot="blue"} 1.0' in text
    assert 'model="forest",slot="blue",version="1.0.0"' in text
    assert 'acgs_model_requests_total{model="unknown",outcome="not_found",slot="none"} 5.0' in text
    assert "made-up" not in text
    app.route(blue="2.0.0", green="2.0.0")
    text = app.client.get("/metrics").text
    assert 'acgs_model_latency_seconds_count{model="constant"' not in text
    assert "acgs_model_routing_epoch 3.0" in text


def test_outcomes_reach_the_store_within_a_second_or_so(opened: Callable[..., Application]) -> None:
    app = opened()
    app.route(blue="1.0.0", green="2.0.0", shadow=True)
    for _ in range(3):
        app.client.post(PREDICT, json=GOOD)

    def total(version: str, name: str) -> int:
        return sum(getattr(window, name) for window in app.store.windows("constant", since=0.0, version=version))

    wait_for(lambda: total("1.0.0", "requests") == 3)
    wait_for(lambda: total("2.0.0", "shadow_requests") == 3)
    assert total("2.0.0", "shadow_agreed") == 0
    assert total("2.0.0", "requests") == 0


def test_health_says_what_is_in_force(opened: Callable[..., Application]) -> None:
    app = opened()
    app.route(blue="1.0.0")
    response = app.client.get("/health")
    assert (response.status_code, response.json()["status"], response.json()["epoch"]) == (200, "healthy", 1)
    app.router.stop()
    assert app.client.get("/health").status_code == 503


def test_a_guard_stands_before_every_route(opened: Callable[..., Application]) -> None:
    app = opened()
    app.route(blue="1.0.0")

    def nobody() -> None:
        raise HTTPException(401, "who are you?")

    client = TestClient(build_app(app.router, app.describe, guards=[Depends(nobody)]))
    for path in ("", "/health", "/metrics", "/constant"):
        assert client.get(path).status_code == 401
    assert client.post(PREDICT, json=GOOD).status_code == 401


def test_a_table_may_come_by_user_config_and_a_wrong_one_changes_nothing() -> None:
    table = table_of({"table": {"epoch": 3, "models": {"m": {"blue": "1.0.0"}}}})
    assert table is not None
    assert table.epoch == 3
    for config in ({}, {"table": None}, {"table": {"epoch": -1}}, {"table": {"models": {"m": {"blue": "x"}}}}):
        assert table_of(config) is None
