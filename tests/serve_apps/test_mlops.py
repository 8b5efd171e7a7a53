"""Versions and releases over HTTP, in this process, with slots that load and answer beside it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.trust import published_keys
from acgs.mlops import MLOpsManager, train_and_version_model
from acgs.release.history import ReleaseHistory, verify_history
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import PERMISSIONS, Caller, Role
from acgs.settings import Settings
from tests.acgs.mlops.conftest import Platform

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

PREFIX = "/api/v1/mlops"
LIMITS = {"requests": 60, "callers": 2}
AT_ONCE = {"plan": {"steps": [100], "watch_seconds": 600}}

As = Callable[..., dict[str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", rate_limit_requests_per_second=1000.0, rate_limit_burst_capacity=1000)


@pytest.fixture
def as_(settings: Settings) -> As:
    """The header of a token for a subject with roles."""
    issuer = TokenIssuer.open(settings)

    def make(subject: str, *roles: Role) -> dict[str, str]:
        return {"authorization": f"Bearer {issuer.issue(subject, roles, timedelta(hours=1)).text}"}

    return make


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    from fastapi.testclient import TestClient

    from serve_apps.mlops_routes import build_app
    from serve_apps.mlops_service import open_service

    async def hold() -> None:
        return None

    with TestClient(build_app(lambda: open_service(settings), hold), root_path=PREFIX) as opened:
        yield opened


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    running = Platform(settings)
    yield running
    running.close()


def table(n: int = 2000) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(n, 3))
    return rows, (rows[:, 0] > 0).astype(int)


@pytest.fixture
def trained(settings: Settings) -> tuple[list[str], list[dict[str, Any]]]:
    """Two versions of a model, and their held-out rows."""
    from sklearn.linear_model import LogisticRegression

    trainer = Caller("tara", frozenset({Role.TRAINER}), None, PERMISSIONS[Role.TRAINER])
    manager = MLOpsManager(settings, caller=trainer)
    made = [
        train_and_version_model(*table(), "triage", estimator=LogisticRegression(C=c), manager=manager)
        for c in (1.0, 0.9)
    ]
    rows = [json.loads(line) for line in made[0].held_out.read_text().splitlines()]
    return [one.version["version"] for one in made], rows


def live(client: TestClient, header: dict[str, str], wanted: str) -> None:
    """Wait until a version is live; the application moves the release on by itself."""
    for _ in range(600):
        if client.get(f"{PREFIX}/releases/triage", headers=header).json()["live"] == wanted:
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"{wanted} did not become live")


def test_a_release_goes_out_and_back_over_http(
    client: TestClient, platform: Platform, trained: tuple[list[str], list[dict[str, Any]]], as_: As
) -> None:
    (first, second), rows = trained
    operator, viewer = as_("olga", Role.OPERATOR), as_("vera", Role.VIEWER)
    refused = client.post(f"{PREFIX}/releases/triage/{first}/promote", json=AT_ONCE, headers=operator)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert "never staged" in refused.json()["detail"]

    body = {"rows": rows, "limits": LIMITS}
    staged = client.post(f"{PREFIX}/releases/triage/{first}/stage", json=body, headers=operator)
    assert (staged.status_code, staged.json()["document"]["verdict"]) == (200, "PASS"), staged.text
    direct = {"plan": {"steps": [100], "watch_seconds": 0}}
    started = client.post(f"{PREFIX}/releases/triage/{first}/promote", json=direct, headers=operator)
    assert (started.status_code, started.json()["requested_by"]) == (202, "olga")
    live(client, viewer, first)

    assert client.post(f"{PREFIX}/releases/triage/{second}/stage", json=body, headers=operator).status_code == 200
    margins = {"p95_ms": 100.0, "p99_ms": 200.0}
    request = {"rows": rows, "margins": margins, "waived": {"calibration": "too few rows"}, "timed_seconds": 200}
    judged = client.post(f"{PREFIX}/releases/triage/{second}/contract", json=request, headers=operator).json()
    assert (judged["document"]["verdict"], judged["document"]["baseline"]) == ("PASS", first)
    client.post(f"{PREFIX}/releases/triage/{second}/promote", json=AT_ONCE, headers=operator)
    live(client, viewer, second)
    back = client.post(f"{PREFIX}/releases/triage/rollback", json={"reason": "complaints"}, headers=operator)
    assert (back.status_code, back.json()["status"]) == (200, "rolled_back")
    live(client, viewer, first)

    found = client.get(f"{PREFIX}/releases/triage/history", headers=viewer)
    history = ReleaseHistory.model_validate_json(found.content)
    manager = platform.manager
    keys = published_keys(audit_directory(manager.settings))
    check = verify_history(history, signing_key(manager.settings).public, keys)
    assert check.holds, check.faults
    actors = {item.event.kind: item.event.actor for item in history.events}
    assert actors["model.version.created"] == "tara"
    assert actors["release.rolled_back"] == "olga"
    assert client.get(f"{PREFIX}/health").json() == {"status": "ok", "faults": {}}


def test_a_failed_document_takes_two_proven_approvers(
    client: TestClient, platform: Platform, trained: tuple[list[str], list[dict[str, Any]]], as_: As
) -> None:
    (first, _), rows = trained
    operator = as_("olga", Role.OPERATOR)
    wrong = [{**row, "label": 1 - row["label"]} for row in rows]
    body = {"rows": wrong, "limits": LIMITS}
    staged = client.post(f"{PREFIX}/releases/triage/{first}/stage", json=body, headers=operator).json()
    assert staged["document"]["verdict"] == "FAIL"
    promote, approve = f"{PREFIX}/releases/triage/{first}/promote", f"{PREFIX}/documents/{staged['digest']}/approve"
    assert client.post(approve, json={"reason": "why not"}, headers=operator).status_code == 403
    for approver in ("ada", "bob"):
        assert client.post(promote, json=AT_ONCE, headers=operator).status_code == 409
        given = client.post(approve, json={"reason": "labels are wrong"}, headers=as_(approver, Role.APPROVER))
        assert given.json()["approved"] == staged["digest"]
        assert given.json()["by"] == approver
    twice = client.post(approve, json={"reason": "labels are wrong"}, headers=as_("ada", Role.APPROVER))
    assert (twice.status_code, "already" in twice.json()["detail"]) == (409, True)
    started = client.post(promote, json=AT_ONCE, headers=operator)
    assert started.status_code == 202
    assert [one["actor"] for one in started.json()["approvals"]] == ["ada", "bob"]
    live(client, operator, first)
    history = platform.manager.history("triage")
    keys = published_keys(audit_directory(platform.manager.settings))
    assert verify_history(history, signing_key(platform.manager.settings).public, keys).holds


def test_versions_are_shown_with_signatures_lineage_and_holds(
    client: TestClient, trained: tuple[list[str], list[dict[str, Any]]], as_: As
) -> None:
    (first, second), _ = trained
    viewer, operator = as_("vera", Role.VIEWER), as_("olga", Role.OPERATOR)
    listed = client.get(f"{PREFIX}/versions", params={"name": "triage"}, headers=viewer).json()
    assert [line["version"] for line in listed] == [second, first]
    shown = client.get(f"{PREFIX}/versions/triage/latest", headers=viewer).json()
    assert (shown["version"], shown["is_production"], set(shown["signatures"])) == (second, False, {"files", "facts"})
    graph = client.get(f"{PREFIX}/versions/triage/{first}/lineage", headers=viewer).json()
    assert graph["of"] == f"triage@{first}"
    hold = f"{PREFIX}/versions/triage/{first}/hold"
    assert client.put(hold, json={"reason": "case 7"}, headers=operator).status_code == 200
    listed = client.get(f"{PREFIX}/versions", headers=viewer).json()
    assert {line["version"]: line["held"] for line in listed} == {first: True, second: False}
    assert client.delete(hold, headers=operator).status_code == 200
    assert client.delete(hold, headers=operator).status_code == 404
    assert client.get(f"{PREFIX}/dashboard", headers=viewer).json()["model_versions"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/versions/triage/1.0", None, 422, "version"),
        ("GET", "/versions/none/latest", None, 404, "name"),
        ("GET", "/versions?limit=0", None, 422, "limit"),
        ("GET", "/releases/none", None, 404, "name"),
        ("GET", "/documents/abc", None, 404, "digest"),
        ("POST", "/releases/none/1.0.0/stage", {"rows": [{"id": "a", "input": 1}]}, 404, "name"),
        ("POST", "/releases/none/1.0.0/stage", {"rows": []}, 422, "rows"),
        ("POST", "/releases/none/1.0.0/stage", {"rows": [{"id": "a", "inptu": 1}]}, 422, "rows.0.input"),
        ("POST", "/releases/none/1.0.0/stage", {"rows": [{"id": "a", "input": 1}] * 2}, 422, "rows"),
        ("POST", "/releases/none/1.0.0/contract", {"rows": [{"id": "a", "input": 1}] * 2}, 422, "rows"),
        ("POST", "/releases/none/1.0.0/promote", {"plan": {"steps": [50]}}, 422, "plan"),
        ("POST", "/releases/none/1.0.0/promote", {"plan": {"step": [100]}}, 422, "plan.step"),
        ("POST", "/releases/none/rollback", {"reason": "x"}, 409, "model"),
        ("POST", "/releases/none/rollback", {"reason": ""}, 422, "reason"),
        ("POST", "/webhooks", {"url": "http://example.org", "topics": ["release.promoted"]}, 422, "url"),
        ("POST", "/webhooks", {"url": "https://example.org", "topics": ["all"]}, 422, "topics.0"),
        ("DELETE", "/webhooks/none", None, 404, "webhook_id"),
    ],
)
def test_bad_input_is_refused_with_the_field_named(
    client: TestClient, as_: As, method: str, path: str, body: Any, status: int, field: str
) -> None:
    response = client.request(method, PREFIX + path, json=body, headers=as_("root", Role.ADMIN))
    assert (response.status_code, response.json()["error"]["field"]) == (status, field), response.text


def test_what_is_looser_than_the_policy_is_refused_and_the_policy_is_shown(
    settings: Settings, trained: tuple[list[str], list[dict[str, Any]]], as_: As, tmp_path: Path
) -> None:
    from fastapi.testclient import TestClient

    from serve_apps.mlops_routes import build_app
    from serve_apps.mlops_service import open_service

    async def hold() -> None:
        return None

    (first, _), rows = trained
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"every_model": {"staging": {"compliance": 0.93}}}))
    file.chmod(0o644)
    governed, operator = settings.model_copy(update={"release_policy_path": file}), as_("olga", Role.OPERATOR)
    with TestClient(build_app(lambda: open_service(governed), hold), root_path=PREFIX) as client:
        shown = client.get(f"{PREFIX}/policy", headers=operator).json()
        assert shown["every_model"]["staging"]["compliance"] == 0.93
        stage = f"{PREFIX}/releases/triage/{first}/stage"
        body = {"rows": rows, "limits": {**LIMITS, "compliance": 0.92}}
        refused = client.post(stage, json=body, headers=operator)
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "limits.compliance")
        adopted = {"every_model": {"staging": {"compliance": 0.94}}}
        assert client.put(f"{PREFIX}/policy", json=adopted, headers=operator).status_code == 403
        for wrong in ({"every_model": {"most": 1}}, {"every_model": {"fewest_rows": 1}}):
            answer = client.put(f"{PREFIX}/policy", json=wrong, headers=as_("ada", Role.ADMIN))
            assert (answer.status_code, answer.json()["error"]["field"].split(".")[0]) == (422, "every_model")
        assert client.get(f"{PREFIX}/policy", headers=operator).json() == shown
        taken = client.put(f"{PREFIX}/policy", json=adopted, headers=as_("ada", Role.ADMIN))
        assert taken.json()["every_model"]["staging"]["compliance"] == 0.94
        # The file that the service names is another now: nobody can tell which of both its owner means.
        refused = client.post(stage, json=body, headers=operator)
        assert (refused.status_code, "adopt-policy" in refused.json()["error"]["message"]) == (503, True)
        file.write_text(json.dumps(adopted))
        refused = client.post(stage, json={**body, "limits": {**LIMITS, "compliance": 0.93}}, headers=operator)
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "limits.compliance")
        file.write_text("{")
        for answer in (
            client.post(stage, json=body, headers=operator),
            client.get(f"{PREFIX}/policy", headers=operator),
        ):
            assert (answer.status_code, answer.json()["error"]["field"]) == (503, "release_policy")


def tar_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_a_model_folder_that_is_sent_becomes_a_version(client: TestClient, settings: Settings, as_: As) -> None:
    trainer, viewer = as_("tara", Role.TRAINER), as_("vera", Role.VIEWER)
    body = tar_of({"./README.md": b"a model\n", "inner/weights.json": b'{"w": [1]}'})
    versions = f"{PREFIX}/versions/intake"
    describe = json.dumps({"metrics": {"accuracy": 0.9}, "data": [{"name": "visits", "digest": "d" * 64}]})
    made = client.post(versions, content=body, params={"describe": describe}, headers=trainer)
    assert (made.status_code, made.json()["version"]) == (201, "1.0.0"), made.text
    assert client.post(versions, content=body, params={"policy": "patch"}, headers=trainer).json()["version"] == "1.0.1"
    again = client.post(versions, content=body, params={"version": "1.0.1"}, headers=trainer)
    assert (again.status_code, again.json()["error"]["field"]) == (409, "version")
    facts = client.get(f"{versions}/1.0.0", headers=viewer).json()["facts"]
    assert (facts["created_by"], facts["metrics"]) == ("tara", {"accuracy": 0.9})
    registry = MLOpsManager(settings).registry
    assert registry.verify("intake@1.0.0").holds
    assert (registry.fetch("intake@1.0.0") / "inner" / "weights.json").read_bytes() == b'{"w": [1]}'
    assert client.post(versions, content=body, headers=viewer).status_code == 403


@pytest.mark.parametrize(
    ("files", "params", "status", "field"),
    [
        ({"model.pkl": b"\x80\x04."}, {}, 422, "artifact"),
        ({"../weights.json": b"{}"}, {}, 422, "artifact"),
        ({}, {}, 422, "artifact"),
        ({"a.json": b"{}"}, {"describe": "["}, 422, "describe"),
        ({"a.json": b"{}"}, {"describe": '{"repository": "/etc"}'}, 422, "describe"),
        ({"a.json": b"{}"}, {"describe": '{"metrics": {"a": "b"}}'}, 422, "metrics.a"),
        ({"a.json": b"{}"}, {"version": "one"}, 422, "version"),
        ({"a.json": b"{}"}, {"policy": "huge"}, 422, "policy"),
        ({"model.json": b'{"kind": "onnx"}'}, {"describe": '{"kind": "sklearn"}'}, 422, "kind"),
        ({"a.json": b"x" * 50_000}, {}, 413, "body"),
    ],
)
def test_a_folder_that_no_version_may_hold_is_refused_and_leaves_nothing(
    settings: Settings, as_: As, files: dict[str, bytes], params: dict[str, str], status: int, field: str
) -> None:
    from fastapi.testclient import TestClient

    from serve_apps.mlops_routes import build_app
    from serve_apps.mlops_service import open_service

    async def hold() -> None:
        return None

    small = settings.model_copy(update={"max_upload_bytes": 40_000})
    left = set(Path(tempfile.gettempdir()).glob("acgs-upload-*"))
    with TestClient(build_app(lambda: open_service(small), hold), root_path=PREFIX) as client:
        trainer = as_("tara", Role.TRAINER)
        answer = client.post(f"{PREFIX}/versions/intake", content=tar_of(files), params=params, headers=trainer)
        assert (answer.status_code, answer.json()["error"]["field"]) == (status, field), answer.text
        in_pieces = (piece for piece in [tar_of(files)[:100], tar_of(files)[100:]])
        unsized = client.post(f"{PREFIX}/versions/intake", content=in_pieces, params=params, headers=trainer)
        assert unsized.status_code == status
        assert client.get(f"{PREFIX}/versions", headers=trainer).json() == []
    assert set(Path(tempfile.gettempdir()).glob("acgs-upload-*")) <= left


def test_an_upload_that_stops_coming_is_given_up_and_makes_room(tmp_path: Path) -> None:
    from starlette.requests import ClientDisconnect, Request

    from serve_apps.mlops_uploads import AT_ONCE, StalledError, Uploads

    async def body(pieces: list[bytes], *, ends: bool, pause: float = 0) -> None:
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages += [{"type": "http.request", "body": b"", "more_body": False}] if ends else []

        async def receive() -> Any:
            if messages:
                await asyncio.sleep(pause)
                return messages.pop(0)
            await asyncio.sleep(60)
            raise ClientDisconnect

        async with uploads.folder(Request({"type": "http", "method": "POST", "headers": []}, receive)) as folder:
            assert (folder / "a.json").read_bytes() == b"{}"

    uploads, archive = Uploads(40_000, quiet_seconds=0.05), tar_of({"a.json": b"{}"})
    for _ in range(AT_ONCE + 1):
        with pytest.raises(StalledError, match=r"every 0\.05 s"):
            asyncio.run(body([archive[:100]], ends=False))
    # One that always sends a little in time is given up, too; one that has gone is not waited for.
    with pytest.raises(StalledError, match="16 KiB a second"):
        asyncio.run(body([archive[:1]] * 1000, ends=False, pause=0.01))
    asyncio.run(body([archive[:100], archive[100:]], ends=True))


def test_what_a_killed_replica_left_of_an_upload_goes_with_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from serve_apps.mlops_uploads import Uploads

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, fresh, other = (tmp_path / name for name in ("acgs-upload-old", "acgs-upload-fresh", "kept"))
    for place in (old, fresh, other):
        place.mkdir()
        (place / "archive.tar").write_bytes(b"half")
    for place in (old, other):
        os.utime(place, (0, 0))
    Uploads(40_000)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["acgs-upload-fresh", "kept"]


def test_webhooks_are_an_administrators(client: TestClient, as_: As) -> None:
    admin, operator = as_("root", Role.ADMIN), as_("olga", Role.OPERATOR)
    body = {"url": "https://hooks.example.org/secret-path?token=x", "topics": ["release.promoted"]}
    assert client.post(f"{PREFIX}/webhooks", json=body, headers=operator).status_code == 403
    made = client.post(f"{PREFIX}/webhooks", json=body, headers=admin)
    assert (made.status_code, made.json()["place"]) == (201, "https://hooks.example.org")
    listed = client.get(f"{PREFIX}/webhooks", headers=admin)
    assert "secret-path" not in listed.text
    assert client.get(f"{PREFIX}/webhooks/deliveries", headers=admin).json() == []
    assert client.delete(f"{PREFIX}/webhooks/{made.json()['webhook_id']}", headers=admin).status_code == 200


def test_who_has_no_token_sees_nothing(client: TestClient) -> None:
    for path in ("/versions", "/releases/triage", "/dashboard", "/webhooks"):
        assert client.get(PREFIX + path).status_code == 401


def measured_by(settings: Settings, behaviour: str) -> Any:
    """The application with a measuring process that behaves as the module of that name."""
    from acgs.mlops.staging_process import MeasuringApart
    from acgs.registry.webhooks.opening import open_deliverer, open_webhooks
    from acgs.security.admission import open_admission
    from serve_apps.mlops_routes import build_app
    from serve_apps.mlops_service import MLOpsService

    apart = MeasuringApart(settings, module=f"tests.acgs.mlops.processes.{behaviour}")
    manager = MLOpsManager(settings, measuring=apart)

    def opened() -> MLOpsService:
        return MLOpsService(manager, open_admission(settings), open_webhooks(settings), open_deliverer(settings), apart)

    async def hold() -> None:
        return None

    return build_app(opened, hold)


def test_a_version_that_crashes_when_it_is_loaded_is_not_known_to_be_good_and_the_service_goes_on(
    settings: Settings, trained: tuple[list[str], list[dict[str, Any]]], as_: As
) -> None:
    from fastapi.testclient import TestClient

    (first, _), rows = trained
    operator = as_("olga", Role.OPERATOR)
    with TestClient(measured_by(settings, "crashes"), root_path=PREFIX) as client:
        staged = client.post(f"{PREFIX}/releases/triage/{first}/stage", json={"rows": rows}, headers=operator).json()
        assert (staged["document"]["verdict"], staged["document"]["made_by"]) == ("INSUFFICIENT", "olga")
        assert "died (signal 11)" in staged["document"]["body"]["results"][0]["reason"]
        assert client.get(f"{PREFIX}/documents/{staged['digest']}", headers=operator).status_code == 200
        promote = f"{PREFIX}/releases/triage/{first}/promote"
        assert client.post(promote, json=AT_ONCE, headers=operator).status_code == 409
        assert client.get(f"{PREFIX}/health").json()["status"] == "ok"


def test_while_a_version_hangs_others_are_told_to_wait_and_everything_else_answers(
    settings: Settings, trained: tuple[list[str], list[dict[str, Any]]], as_: As
) -> None:
    from fastapi.testclient import TestClient

    (first, _), rows = trained
    operator = as_("olga", Role.OPERATOR)
    stage = f"{PREFIX}/releases/triage/{first}/stage"
    statuses: list[int] = []

    with TestClient(measured_by(settings, "hangs"), root_path=PREFIX) as client:

        def ask() -> None:
            statuses.append(client.post(stage, json={"rows": rows}, headers=operator).status_code)

        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        for _ in range(1200):
            if len(statuses) == 7:
                break
            threading.Event().wait(0.05)
        assert statuses == [429] * 7
        refused = client.post(stage, json={"rows": rows}, headers=operator)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
        assert client.get(f"{PREFIX}/releases/triage", headers=operator).status_code == 200
        client.app.state.service.close()  # type: ignore[attr-defined]
        for asker in askers:
            asker.join(60)
        assert sorted(statuses) == [429] * 7 + [503]


def test_releases_move_on_though_every_thread_for_requests_is_taken(settings: Settings) -> None:
    import asyncio

    from serve_apps.mlops_routes import build_app
    from serve_apps.mlops_service import open_service

    async def hold() -> None:
        return None

    app = build_app(lambda: open_service(settings), hold)
    free = threading.Event()

    async def run() -> bool:
        async with app.router.lifespan_context(app):
            ticked = asyncio.Event()
            loop = asyncio.get_running_loop()
            blocked = [asyncio.create_task(asyncio.to_thread(free.wait)) for _ in range(64)]
            await asyncio.sleep(0)
            app.state.service.manager.controller.tick = lambda: loop.call_soon_threadsafe(ticked.set)
            try:
                await asyncio.wait_for(ticked.wait(), 30)
            finally:
                free.set()
            await asyncio.gather(*blocked)
        return True

    assert asyncio.run(run())
