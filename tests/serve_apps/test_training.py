"""The training service over HTTP, in this process, with a cluster that runs no jobs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from acgs.audit.journal_reader import read_batch
from acgs.learning.sessions.runner import JobPhase
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import Role
from acgs.settings import Settings
from tests.acgs.learning.sessions.conftest import FakeRunner

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX = "/api/v1/train"
BODY: dict[str, Any] = {
    "model_name": "tiny",
    "training_data": [{"prompt": f"question {number}", "response": "answer"} for number in range(12)],
}
NOBODY = "00000000-0000-4000-8000-000000000000"
CONTRACT_FIELDS = {
    "training_id", "status", "progress", "constitutional_compliance_score", "current_phase", "estimated_completion",
    "error_message",
}  # fmt: skip

Issue = Callable[..., dict[str, str]]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("MAX_CONCURRENT_SESSIONS", "2")
    monkeypatch.setenv("ACGS_MAX_QUEUED_SESSIONS", "1")
    monkeypatch.setenv("RATE_LIMIT_REQUESTS_PER_SECOND", "1000")
    monkeypatch.setenv("RATE_LIMIT_BURST_CAPACITY", "1000")
    monkeypatch.delenv("ACGS_DATABASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def issue(state: Path) -> Issue:
    """The header of a token for a subject with roles."""
    issuer = TokenIssuer.open(Settings(state_dir=state))

    def make(subject: str, *roles: Role) -> dict[str, str]:
        return {"authorization": f"Bearer {issuer.issue(subject, roles or [Role.TRAINER], timedelta(hours=1)).text}"}

    return make


@pytest.fixture
def open_client(state: Path, runner: FakeRunner) -> Callable[[], TestClient]:
    from fastapi.testclient import TestClient

    from serve_apps.training_routes import build_app
    from serve_apps.training_service import open_service
    from serve_apps.training_settings import TrainingSettings

    def opened() -> TestClient:
        app = build_app(lambda: open_service(Settings(), TrainingSettings(), runner))
        return TestClient(app, root_path=PREFIX)

    return opened


@pytest.fixture
def client(open_client: Callable[[], TestClient]) -> Iterator[TestClient]:
    with open_client() as opened:
        yield opened


def start(client: TestClient, header: dict[str, str], **fields: Any) -> str:
    response = client.post(PREFIX, json=BODY | fields, headers=header)
    assert response.status_code == 200, response.text
    identity: str = response.json()["training_id"]
    return identity


def wait_for(client: TestClient, header: dict[str, str], session: str, *statuses: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer: dict[str, Any] = client.get(f"{PREFIX}/{session}/status", headers=header).json()
        if answer["status"] in statuses:
            return answer
        time.sleep(0.05)
    raise AssertionError(answer)


def test_a_session_is_taken_in_run_and_completed(client: TestClient, runner: FakeRunner, issue: Issue) -> None:
    mia = issue("mia")
    session = start(client, mia)
    running = wait_for(client, mia, session, "running")
    assert running.keys() >= CONTRACT_FIELDS
    while session not in runner.jobs:
        time.sleep(0.01)
    runner.end(session, JobPhase.SUCCEEDED, 0)
    done = wait_for(client, mia, session, "completed")
    assert (done["progress"], done["current_phase"]) == (1.0, "finished")
    assert Path(done["model_artifacts"]["output"]).is_dir()


def test_cancel_ends_the_job_and_keeps_what_it_wrote(
    client: TestClient, runner: FakeRunner, issue: Issue, state: Path
) -> None:
    mia = issue("mia")
    session = start(client, mia)
    wait_for(client, mia, session, "running")
    checkpoint = state / "training" / session / "output" / "checkpoint"
    checkpoint.write_text("weights")
    answer = client.delete(f"{PREFIX}/{session}", headers=mia)
    assert answer.json() == {"message": "the session is cancelling", "training_id": session}
    while not runner.stopping:
        time.sleep(0.01)
    runner.reap()
    wait_for(client, mia, session, "cancelled")
    assert checkpoint.read_text() == "weights"
    assert client.delete(f"{PREFIX}/{session}", headers=mia).status_code == 200


def test_beyond_places_and_queue_callers_are_asked_to_come_back(client: TestClient, issue: Issue, state: Path) -> None:
    mia = issue("mia")
    sessions = [start(client, mia, max_training_time=300) for _ in range(3)]
    refused = client.post(PREFIX, json=BODY, headers=mia)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 300
    assert sorted(folder.name for folder in (state / "training").iterdir()) == sorted(sessions)
    assert client.get(f"{PREFIX}/health").json()["active_sessions"] == 2
    assert client.get(f"{PREFIX}/{sessions[2]}/status", headers=mia).json()["status"] == "queued"


def test_a_restarted_service_finds_everything_again(
    open_client: Callable[[], TestClient], runner: FakeRunner, issue: Issue
) -> None:
    mia = issue("mia")
    with open_client() as first:
        sessions = [start(first, mia) for _ in range(3)]
        for session in sessions[:2]:
            wait_for(first, mia, session, "running")
            while session not in runner.jobs:
                time.sleep(0.01)
    runner.end(sessions[0], JobPhase.SUCCEEDED, 0)
    with open_client() as second:
        wait_for(second, mia, sessions[0], "completed")
        wait_for(second, mia, sessions[2], "running")
        while sessions[2] not in runner.jobs:
            time.sleep(0.01)
        listed = second.get(PREFIX, headers=mia).json()["sessions"]
        assert [session["training_id"] for session in listed] == sessions[::-1]
    assert runner.submitted == sessions


def test_the_configuration_declares_one_scheduler_with_bounded_queues_under_the_contracts_prefix() -> None:
    import yaml

    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    training = next(app for app in document["applications"] if app["name"] == "training")
    (deployment,) = training["deployments"]
    assert training["route_prefix"] == PREFIX
    assert (deployment["name"], deployment["num_replicas"]) == ("Training", 1)
    assert 0 < deployment["max_queued_requests"] < 10_000


def test_the_application_starts_without_torch() -> None:
    code = (
        "import sys, serve_apps.training, serve_apps.training_jobs, serve_apps.training_routes;"
        "print([name for name in ('torch', 'transformers', 'ray.train') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


ROUTES = [
    ("POST", "", {Role.TRAINER, Role.ADMIN}),
    ("GET", "", set(Role)),
    ("GET", "/{own}/status", set(Role)),
    ("GET", "/{own}/logs", set(Role)),
    ("DELETE", "/{own}", {Role.TRAINER, Role.ADMIN}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_every_route_lets_in_the_roles_that_may_and_no_others(
    client: TestClient, issue: Issue, method: str, path: str, allowed: set[Role]
) -> None:
    own = start(client, issue("mia"))
    url = PREFIX + path.format(own=own)
    body = json.dumps(BODY) if method == "POST" else None
    for role in Role:
        response = client.request(method, url, content=body, headers=issue("mia", role))
        assert (response.status_code == 200) == (role in allowed), (role, response.text)
        assert role in allowed or response.status_code == 403
    for header in ({}, {"authorization": "Basic bWlh"}, {"authorization": "Bearer a.b.c"}):
        refused = client.request(method, url, content=body, headers=header)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"


def test_a_session_belongs_to_who_started_it(client: TestClient, issue: Issue) -> None:
    session = start(client, issue("mia"))
    bob = issue("bob")
    for method, path in (("GET", f"/{session}/status"), ("GET", f"/{session}/logs"), ("DELETE", f"/{session}")):
        foreign = client.request(method, PREFIX + path, headers=bob)
        unknown = client.request(method, PREFIX + path.replace(session, NOBODY), headers=bob)
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json() == unknown.json()
    assert client.get(PREFIX, headers=bob).json() == {"sessions": [], "next": None}


def test_viewers_see_everybodys_sessions_and_only_administrators_cancel_them(client: TestClient, issue: Issue) -> None:
    session = start(client, issue("mia"))
    both = issue("bob", Role.VIEWER, Role.TRAINER)
    assert client.get(f"{PREFIX}/{session}/status", headers=both).status_code == 200
    assert client.delete(f"{PREFIX}/{session}", headers=both).status_code == 403
    assert client.delete(f"{PREFIX}/{session}", headers=issue("eve", Role.ADMIN)).status_code == 200


DEEP = '{"a":' * 5000 + "1" + "}" * 5000
BAD_BODIES = [
    (b"{", 400, "body"),
    (b"[1]", 422, "body"),
    (b"\xff", 400, "body"),
    (b"NaN", 400, "body"),
    (DEEP.encode(), 400, "body"),
    (json.dumps(BODY | {"colour": "red"}).encode(), 422, "colour"),
    (json.dumps(BODY | {"training_data": []}).encode(), 422, "training_data"),
    (json.dumps(BODY | {"model_name": "gpt-9"}).encode(), 422, "model_name"),
    (json.dumps(BODY | {"privacy_config": {"epsilon": 99}}).encode(), 422, "privacy_config.epsilon"),
    (json.dumps(BODY | {"constitutional_constraints": {"constitutional_hash": "0"}}).encode(), 400,
     "constitutional_constraints.constitutional_hash"),
    (b'{"x": "' + b"a" * 40_000_000 + b'"}', 413, "body"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "field"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_bad_body_is_refused_with_its_field_named_and_nothing_is_kept(
    client: TestClient, issue: Issue, state: Path, body: bytes, status: int, field: str
) -> None:
    response = client.post(PREFIX, content=body, headers=issue("mia"))
    assert (response.status_code, response.json()["error"]["field"]) == (status, field)
    assert client.get(PREFIX, headers=issue("mia")).json()["sessions"] == []
    assert list((state / "training").iterdir()) == []


def test_a_refusal_does_not_repeat_what_was_sent(client: TestClient, issue: Issue) -> None:
    secret = "patient 4711"
    rows = [{"prompt": secret, "response": ["not text", secret]}]
    response = client.post(PREFIX, json=BODY | {"training_data": rows}, headers=issue("mia"))
    assert response.status_code == 422
    assert secret not in response.text


def test_logs_are_the_last_lines_and_pages_follow_each_other(
    client: TestClient, runner: FakeRunner, issue: Issue
) -> None:
    mia = issue("mia")
    sessions = [start(client, mia) for _ in range(3)]
    runner.log = "\n".join(f"line {number}" for number in range(100))
    wait_for(client, mia, sessions[0], "running")
    while not (lines := client.get(f"{PREFIX}/{sessions[0]}/logs?lines=3", headers=mia).json()["lines"]):
        time.sleep(0.01)
    assert lines == ["line 97", "line 98", "line 99"]
    assert client.get(f"{PREFIX}/{sessions[2]}/logs", headers=mia).json()["lines"] == []
    first = client.get(f"{PREFIX}?limit=2", headers=mia).json()
    second = client.get(f"{PREFIX}?limit=2&before={first['next']}", headers=mia).json()
    assert [session["training_id"] for session in first["sessions"] + second["sessions"]] == sessions[::-1]
    assert second["next"] is None


def test_what_happens_is_on_record_without_the_data(
    client: TestClient, runner: FakeRunner, issue: Issue, state: Path
) -> None:
    mia = issue("mia")
    session = start(client, mia)
    wait_for(client, mia, session, "running")
    while session not in runner.jobs:
        time.sleep(0.01)
    runner.end(session, JobPhase.FAILED, 1)
    wait_for(client, mia, session, "failed")
    entries = [json.loads(entry) for entry in read_batch(state / "audit" / "journals", {}, 100).entries]
    assert [(entry["kind"], entry["actor"]) for entry in entries if entry["subject"] == session] == [
        ("constitutional_training_requested", "mia"),
        ("constitutional_training_failed", "constitutional-trainer"),
    ]
    assert "question 1" not in json.dumps(entries)


def test_without_a_record_no_session_starts(
    client: TestClient, runner: FakeRunner, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acgs.audit.journal import Journal
    from acgs.errors import AuditWriteError

    def full(_journal: Journal, _entry: bytes) -> None:
        raise AuditWriteError("the disk is full")

    monkeypatch.setattr(Journal, "append", full)
    assert client.post(PREFIX, json=BODY, headers=issue("mia")).status_code == 503
    time.sleep(0.1)
    assert runner.submitted == []


def test_metrics_count_requests_and_sessions(client: TestClient, runner: FakeRunner, issue: Issue) -> None:
    mia = issue("mia")
    session = start(client, mia)
    client.post(PREFIX, json=BODY | {"colour": "red"}, headers=mia)
    wait_for(client, mia, session, "running")
    while session not in runner.jobs:
        time.sleep(0.01)
    runner.end(session, JobPhase.SUCCEEDED, 0)
    wait_for(client, mia, session, "completed")
    text = client.get(f"{PREFIX}/metrics").text
    label = 'constitutional_hash="cdd01ef066bc6cf2"'
    assert f'constitutional_training_requests_total{{{label},model_type="tiny",status="accepted"}} 1.0' in text
    assert f'constitutional_training_requests_total{{{label},model_type="unknown",status="validation"}} 1.0' in text
    assert f'constitutional_training_sessions_total{{{label},model_type="tiny",status="completed"}} 1.0' in text


def test_health_tells_when_the_cluster_does_not_answer(client: TestClient, runner: FakeRunner, issue: Issue) -> None:
    health = client.get(f"{PREFIX}/health").json()
    assert health["status"] == "healthy"
    assert {"service", "version", "constitutional_hash", "timestamp", "active_sessions"} <= health.keys()
    runner.answers = False
    start(client, issue("mia"))
    deadline = time.monotonic() + 30
    while client.get(f"{PREFIX}/health").json()["issues"] != ["the cluster does not answer"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_fault_in_the_scheduler_shows_and_does_not_end_it(
    client: TestClient, runner: FakeRunner, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_session: str) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(runner, "submit", broken)
        session = start(client, issue("mia"))
        deadline = time.monotonic() + 30
        while client.get(f"{PREFIX}/health").json()["status"] == "healthy":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    deadline = time.monotonic() + 30
    while runner.submitted != [session]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_generated_request_breaks_a_route(client: TestClient, issue: Issue) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_dict(client.get(f"{PREFIX}/openapi.json").json())
    admin = issue("eve", Role.ADMIN)
    routes = []
    for result in schema.get_all_operations():
        operation = result.ok()
        routes.append(operation.label)

        @given(case=operation.as_strategy())
        @settings(
            max_examples=30, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            derandomize=True, database=None,
        )  # fmt: skip
        def check(case: schemathesis.Case[Any]) -> None:
            given_to = case.as_transport_kwargs(base_url=f"http://testserver{PREFIX}")
            given_to["headers"] = {**dict(given_to.get("headers") or {}), **admin}
            given_to.pop("cookies", None)
            response = client.request(**given_to)
            assert response.status_code < 500, response.text

        check()
    assert len(routes) == 7
