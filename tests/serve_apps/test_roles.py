"""Who may do what, over all routes of all applications.

Every route stands in the table, with the permission that it asks for or the reason why it asks for none; one that does
not, fails here. To add an application, add it to `APPLICATIONS`; to add a route, add its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from acgs.security.admission import open_admission
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import PERMISSIONS, Permission, Role
from acgs.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

REPOSITORY = Path(__file__).resolve().parents[2]
Route = tuple[str, str]
Rule = Permission | str
"""The permission, or why none is needed."""

STATE = "says how the service fares, nothing of what it serves"
SCHEMA = "describes the interface"
DECIDES = "decides, changes nothing; its rate is limited by address"
GOVERNANCE = "/api/v1/enhanced-governance"


def _governance() -> FastAPI:
    from serve_apps.governance import app

    return app


def _retrieval() -> FastAPI:
    from serve_apps.retrieval import app

    return app


def _training() -> FastAPI:
    from serve_apps.training_routes import build_app

    return build_app(cast(Any, None))


def _models() -> FastAPI:
    from serve_apps.models_routes import build_app

    return build_app(cast(Any, None), cast(Any, None))


def _mlops() -> FastAPI:
    from serve_apps.mlops_routes import build_app

    return build_app(cast(Any, None), cast(Any, None))


@dataclass(frozen=True)
class Application:
    """An application: how to make it without what stands behind it, and what its routes ask for."""

    make: Callable[[], FastAPI]
    rules: Mapping[Route, Rule]


APPLICATIONS = {
    "governance": Application(
        _governance,
        {
            ("GET", "/openapi.json"): SCHEMA,
            ("POST", f"{GOVERNANCE}/evaluate"): DECIDES,
            ("POST", f"{GOVERNANCE}/evaluate/batch"): DECIDES,
            ("POST", f"{GOVERNANCE}/domains/{{domain}}/evaluate"): DECIDES,
            ("POST", "/v1/evaluate"): DECIDES,
            ("GET", f"{GOVERNANCE}/health"): STATE,
            ("GET", "/health"): STATE,
            ("GET", "/ready"): STATE,
            ("GET", f"{GOVERNANCE}/metrics"): STATE,
            ("GET", "/metrics"): STATE,
            ("GET", f"{GOVERNANCE}/domains"): "the constitution is public",
            ("GET", "/api/v1/audit/checkpoint"): "checkpoints are made to be published",
        },
    ),
    "retrieval": Application(
        _retrieval,
        {
            ("GET", "/openapi.json"): SCHEMA,
            ("POST", "/search"): DECIDES,
            ("GET", "/ready"): STATE,
        },
    ),
    "training": Application(
        _training,
        {
            ("GET", "/openapi.json"): SCHEMA,
            ("POST", ""): Permission.MODEL_TRAINING,
            ("GET", ""): Permission.TRAINING_READ,
            ("GET", "/{training_id}/status"): Permission.TRAINING_READ,
            ("GET", "/{training_id}/logs"): Permission.TRAINING_READ,
            ("DELETE", "/{training_id}"): Permission.MODEL_TRAINING,
            ("GET", "/health"): STATE,
            ("GET", "/metrics"): STATE,
        },
    ),
    "models": Application(
        _models,
        {
            ("GET", "/openapi.json"): SCHEMA,
            ("GET", ""): "names what can be asked, which callers of predict must know",
            ("GET", "/"): "names what can be asked, which callers of predict must know",
            ("GET", "/{name}"): "says what predict takes, which its callers must know",
            ("POST", "/{name}/predict"): DECIDES,
            ("GET", "/health"): STATE,
            ("GET", "/metrics"): STATE,
        },
    ),
    "mlops": Application(
        _mlops,
        {
            ("GET", "/openapi.json"): SCHEMA,
            ("GET", "/versions"): Permission.MODEL_READ,
            ("POST", "/versions/{name}"): Permission.MODEL_CREATE,
            ("GET", "/versions/{name}/{version}"): Permission.MODEL_READ,
            ("GET", "/versions/{name}/{version}/lineage"): Permission.MODEL_READ,
            ("PUT", "/versions/{name}/{version}/hold"): Permission.MODEL_RELEASE,
            ("DELETE", "/versions/{name}/{version}/hold"): Permission.MODEL_RELEASE,
            ("POST", "/releases/{name}/{version}/stage"): Permission.MODEL_RELEASE,
            ("POST", "/releases/{name}/{version}/contract"): Permission.MODEL_RELEASE,
            ("POST", "/releases/{name}/{version}/promote"): Permission.MODEL_RELEASE,
            ("POST", "/releases/{name}/rollback"): Permission.MODEL_RELEASE,
            ("GET", "/policy"): Permission.MODEL_READ,
            ("PUT", "/policy"): Permission.RELEASE_RULE,
            ("GET", "/releases/{name}"): Permission.MODEL_READ,
            ("GET", "/releases/{name}/history"): Permission.MODEL_READ,
            ("GET", "/documents/{digest}"): Permission.MODEL_READ,
            ("POST", "/documents/{digest}/approve"): Permission.MODEL_APPROVE,
            ("GET", "/webhooks"): Permission.WEBHOOK_MANAGE,
            ("POST", "/webhooks"): Permission.WEBHOOK_MANAGE,
            ("DELETE", "/webhooks/{webhook_id}"): Permission.WEBHOOK_MANAGE,
            ("GET", "/webhooks/deliveries"): Permission.WEBHOOK_MANAGE,
            ("GET", "/dashboard"): Permission.MODEL_READ,
            ("GET", "/health"): STATE,
        },
    ),
}
VALUES = {"training_id": "00000000-0000-4000-8000-000000000000"}
ANY_VALUE = "x"
PREFIX = "/prefix"
"""Serve keeps an application's prefix in `root_path`; a route of its own may be empty only then."""
CHANGING_METHODS = {"POST", "PUT", "PATCH", "DELETE"}


def routes_of(routes: list[Any]) -> Iterator[Route]:
    """All routes, those of included routers too; a kind of route that this cannot see into is an error."""
    for route in routes:
        if hasattr(route, "original_router"):
            assert not route.include_context.prefix, route
            yield from routes_of(route.original_router.routes)
        else:
            # A route that is no HTTP route (a mount, a websocket) has no methods: add it here with its test.
            for method in route.methods - {"HEAD"}:
                yield method, route.path


CASES = [
    pytest.param(name, method, path, rule, id=f"{name} {method} {path}")
    for name, application in APPLICATIONS.items()
    for (method, path), rule in application.rules.items()
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        state_dir=tmp_path_factory.mktemp("state"),
        rate_limit_requests_per_second=1e6,
        rate_limit_burst_capacity=1_000_000,
        lockout_failures=0,
    )


@pytest.fixture(scope="module")
def headers(settings: Settings) -> dict[Role, dict[str, str]]:
    """A caller of each role."""
    issuer = TokenIssuer.open(settings)
    hour = timedelta(hours=1)
    return {role: {"authorization": f"Bearer {issuer.issue(role, [role], hour).text}"} for role in Role}


@pytest.fixture(scope="module")
def clients(settings: Settings) -> dict[str, TestClient]:
    """The applications without what stands behind them: a request that is let in fails there, with 500."""
    from fastapi.testclient import TestClient

    made = {}
    for name, application in APPLICATIONS.items():
        app = application.make()
        app.state.admission = open_admission(settings)
        made[name] = TestClient(app, root_path=PREFIX, raise_server_exceptions=False)
    return made


def ask(client: TestClient, method: str, path: str, headers: Mapping[str, str]) -> int:
    """The status of an answer to a request with an empty body."""
    names = [part.partition("}")[0] for part in path.split("{")[1:]]
    place = path.format_map({name: VALUES.get(name, ANY_VALUE) for name in names})
    return client.request(method, PREFIX + place, headers=dict(headers)).status_code


def test_the_table_has_every_application_that_is_deployed() -> None:
    import yaml

    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    assert {application["name"] for application in document["applications"]} == APPLICATIONS.keys()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_route_is_in_the_table(name: str) -> None:
    application = APPLICATIONS[name]
    assert set(routes_of(application.make().routes)) == application.rules.keys()


def test_what_changes_state_asks_for_a_permission() -> None:
    open_to_all = {
        (name, method, path)
        for name, application in APPLICATIONS.items()
        for (method, path), rule in application.rules.items()
        if not isinstance(rule, Permission) and method in CHANGING_METHODS and rule != DECIDES
    }
    assert open_to_all == set()


@pytest.mark.parametrize(("name", "method", "path", "rule"), CASES)
def test_a_route_lets_in_whom_the_table_says(
    clients: dict[str, TestClient], headers: dict[Role, dict[str, str]], name: str, method: str, path: str, rule: Rule
) -> None:
    client = clients[name]
    if isinstance(rule, Permission):
        allowed = {role for role in Role if rule in PERMISSIONS[role]}
        assert allowed
        answers = {role: ask(client, method, path, headers[role]) for role in Role}
        assert {role for role, status in answers.items() if status != 403} == allowed, answers
        assert 401 not in answers.values()
        for none in ({}, {"authorization": "Basic bWlh"}, {"authorization": "Bearer a.b.c"}):
            assert ask(client, method, path, none) == 401
    else:
        assert ask(client, method, path, {}) not in (401, 403, 404, 405)


def test_a_peer_that_guesses_is_told_to_wait_at_every_route(settings: Settings, headers: Any) -> None:
    from fastapi.testclient import TestClient

    app = _training()
    app.state.admission = open_admission(settings.model_copy(update={"lockout_failures": 3}))
    client = TestClient(app, root_path=PREFIX, raise_server_exceptions=False)
    forged = {"authorization": "Bearer a.b.c"}
    assert [client.get(PREFIX, headers=forged).status_code for _ in range(4)] == [401, 401, 401, 429]
    refused = client.post(PREFIX, headers=headers[Role.ADMIN])
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    elsewhere = TestClient(app, root_path=PREFIX, raise_server_exceptions=False, client=("10.0.0.7", 1))
    assert elsewhere.get(PREFIX, headers=headers[Role.VIEWER]).status_code not in (401, 403, 429)


def test_a_subject_that_asks_too_often_is_told_to_wait(settings: Settings, headers: Any) -> None:
    from fastapi.testclient import TestClient

    app = _training()
    slow = {"rate_limit_requests_per_second": 0.01, "rate_limit_burst_capacity": 2}
    app.state.admission = open_admission(settings.model_copy(update=slow))
    client = TestClient(app, root_path=PREFIX, raise_server_exceptions=False)
    answers = [client.get(PREFIX, headers=headers[Role.VIEWER]) for _ in range(3)]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert int(answers[2].headers["retry-after"]) > 1
    assert client.get(PREFIX, headers=headers[Role.OPERATOR]).status_code != 429
