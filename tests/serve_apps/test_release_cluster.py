"""From training output to production on the platform's cluster, broken there, and back without anybody's help."""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import SecretStr

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.trust import published_keys
from acgs.cli.local_cluster import ClusterControl, LocalCluster
from acgs.errors import AcgsError
from acgs.mlops import MLOpsManager
from acgs.release.history import ReleaseHistory, verify_history
from acgs.release.model_contract import ModelMargins
from acgs.release.policy import ModelRules, ReleasePolicy
from acgs.release.staging.limits import StagingLimits
from acgs.serving.deployments.record import Deployment, DeploymentStatus, RampPlan
from acgs.serving.replicas import LOST_AFTER_SECONDS, Phase, routers_on
from acgs.serving.routing import Slot
from acgs.serving.served import load_version
from acgs.settings import Settings
from serve_apps.models_routes import SESSION_HEADER
from tests.serve_apps.conftest import REPOSITORY
from tests.serve_apps.trained_models import TRAINERS, Trained

PATIENCE_SECONDS = 240.0
MOST_REQUESTS = 4000
CALLERS = 4
LIMITS = StagingLimits(requests=60, callers=2)
"""All metrics and compliance as published; only fewer requests under load."""
MARGINS = ModelMargins(quality=0.05, p95_ms=50.0, p99_ms=100.0)
"""Latency is left wide: this machine may do other work at the same time."""
WAIVED = dict.fromkeys(("calibration", "latency, p99"), "a few hundred held-out rows are too few for it")
POLICY = ReleasePolicy(every_model=ModelRules(waivable=("quality, slice", *WAIVED)))
AT_ONCE = RampPlan(steps=(100,), watch_seconds=0.0)
BY_STEPS = RampPlan(steps=(50, 100), observe_seconds=1.0, minimum_requests=60, watch_seconds=600.0)
OK = 200


@dataclass(frozen=True)
class Answer:
    """One response; `at` is when it came, in seconds since 1970."""

    unusual: bool
    at: float
    status: int
    body: dict[str, Any]


class Installation:
    """The platform as a user has it: a manager here, the applications on the cluster, and their callers."""

    def __init__(self, manager: MLOpsManager, client: httpx.Client) -> None:
        self.manager = manager
        self.client = client

    def ask(self, trained: Trained, caller: str, *, unusual: bool) -> Answer:
        body = {"instances": trained.instances(unusual=unusual)}
        response = self.client.post(
            f"/models/{trained.name}/predict", json=body, headers={SESSION_HEADER: caller}, timeout=60
        )
        return Answer(unusual, time.time(), response.status_code, response.json())

    def in_force(self) -> bool:
        """Whether every router works by the latest table."""
        live = self.manager.serving.replicas(alive_since=time.time() - LOST_AFTER_SECONDS)
        return routers_on(live, self.manager.serving.epoch())

    def load_seconds(self, model: str, version: str) -> list[float | None]:
        live = self.manager.serving.replicas(alive_since=time.time() - LOST_AFTER_SECONDS)
        return [
            holding.load_seconds
            for replica in live
            for holding in replica.versions
            if (holding.model, holding.version, holding.phase) == (model, version, Phase.READY)
        ]


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@contextmanager
def postgres_and_s3(url: str) -> Iterator[dict[str, str]]:
    """Environment of an installation on a schema of its own and an S3 server of this process."""
    import boto3
    from moto.server import ThreadedMotoServer
    from sqlalchemy import create_engine, text

    schema, server = f"acgs_test_{uuid.uuid4().hex}", create_engine(url)
    with server.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    credentials = {
        "AWS_ACCESS_KEY_ID": "test-id", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="acgs-models")
        yield credentials | {
            "ACGS_DATABASE_URL": f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}",
            "ACGS_ARTIFACTS": "s3://acgs-models/releases",
            "ACGS_S3_ENDPOINT": endpoint,
        }
    moto.stop()
    with server.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


def configuration(environment: dict[str, str], path: Path) -> Path:
    """The shipped applications; those that serve and release models get an installation of their own."""
    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    for application in document["applications"]:
        if application["name"] in ("models", "mlops"):
            application.setdefault("runtime_env", {}).setdefault("env_vars", {}).update(environment)
            for deployment in application["deployments"]:
                if "autoscaling_config" in deployment:
                    deployment["autoscaling_config"]["max_replicas"] = 1
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def installation(platform_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """On PostgreSQL and S3 where a server is given, else on SQLite and a folder: the same tests."""
    folder = tmp_path_factory.mktemp("release")
    url = os.environ.get("ACGS_TEST_POSTGRES_URL")
    with ExitStack() as stack:
        backing = stack.enter_context(postgres_and_s3(url)) if url else {}
        environment = backing | {
            "ACGS_STATE_DIR": str(folder / "state"),
            "ACGS_MODEL_REQUESTS_PER_SECOND": "10000",
            "ACGS_MODEL_REQUEST_BURST": "10000",
        }
        settings = Settings(
            state_dir=folder / "state",
            database_url=SecretStr(backing["ACGS_DATABASE_URL"]) if url else None,
            artifacts=backing.get("ACGS_ARTIFACTS"),
            s3_endpoint=backing.get("ACGS_S3_ENDPOINT"),
        )
        manager = MLOpsManager(settings)
        manager.adopt_release_policy(POLICY)
        control = ClusterControl(Path(platform_cluster.state_dir), lambda _line: None)
        port = int(platform_cluster.url.rsplit(":", 1)[1])
        control.start(configuration(environment, folder / "serve.yaml"), port=port)
        with httpx.Client(base_url=platform_cluster.url, timeout=120) as client:
            yield Installation(manager, client)
        # The applications let go of database and store before these end.
        control.start(REPOSITORY / "cluster" / "serve.yaml", port=port)


def put_into_production(installation: Installation, trained: Trained) -> None:
    """The first version, which nothing is held against."""
    manager = installation.manager
    staged = manager.stage_model(trained.name, trained.first, data=trained.held_out, limits=LIMITS)
    assert staged.document.verdict == "PASS", staged.document.body
    manager.deploy_model(trained.name, trained.first, plan=AT_ONCE)
    wait_for(installation.in_force)


def promote_the_second(installation: Installation, trained: Trained) -> Deployment:
    """It passes everything that is asked of it; who moves it on is the application on the cluster."""
    manager = installation.manager
    staged = manager.stage_model(trained.name, trained.second, data=trained.held_out, limits=LIMITS)
    assert staged.document.verdict == "PASS", staged.document.body
    contract = manager.check_contract(
        trained.name, trained.second, data=trained.held_out, margins=MARGINS, waived=WAIVED
    )
    assert contract.document.verdict == "PASS", contract.document.body["report"]
    return manager.deploy_model(trained.name, trained.second, plan=BY_STEPS, wait=False)


def traffic(installation: Installation, trained: Trained, *, until: Callable[[], bool], most: int) -> list[Answer]:
    """Callers who each ask as soon as they have their answer; of four requests, three are unusual."""
    answers: list[Answer] = []
    numbers, stop = itertools.count(), threading.Event()

    def ask() -> None:
        while not stop.is_set() and (number := next(numbers)) < most:
            answers.append(installation.ask(trained, f"caller {number}", unusual=number % 4 != 0))

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        wait_for(lambda: until() or not any(caller.is_alive() for caller in callers))
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    return answers


def mixed(installation: Installation, trained: Trained, answers: list[Answer]) -> list[Answer]:
    """Answers that are not of the version which their table has in their slot, or not what that version computes."""
    manager = installation.manager
    tables = {recorded.table.epoch: recorded.table for recorded in manager.serving.tables()}
    expected: dict[tuple[str, bool], list[Any] | None] = {}
    for version in (trained.first, trained.second):
        folder = manager.registry.fetch(f"{trained.name}@{version}")
        with closing(load_version(trained.name, version, folder, lambda *_: Path())) as served:
            for unusual in (False, True):
                try:
                    expected[version, unusual] = served.predict(trained.instances(unusual=unusual), {}).values
                except AcgsError:
                    expected[version, unusual] = None

    def holds(answer: Answer) -> bool:
        body = answer.body
        held = tables[body["epoch"]].models[trained.name].version_in(Slot(body["slot"]))
        wanted = expected[body["version"], answer.unusual]
        return (body["model"], body["version"]) == (trained.name, held) and body["predictions"] == wanted

    return [answer for answer in answers if answer.status == OK and not holds(answer)]


@pytest.mark.parametrize("kind", sorted(TRAINERS))
def test_a_trained_model_goes_to_production_breaks_there_and_comes_back_by_itself(
    installation: Installation, tmp_path: Path, kind: str, record_property: Callable[[str, object], None]
) -> None:
    manager = installation.manager
    trained = TRAINERS[kind](manager, tmp_path)
    put_into_production(installation, trained)
    before = traffic(installation, trained, until=lambda: False, most=80)
    assert {(answer.status, answer.body.get("version")) for answer in before} == {(OK, trained.first)}

    started = promote_the_second(installation, trained)

    def is_back() -> bool:
        return not manager.deployments.get(started.deployment_id).active and installation.in_force()

    during = traffic(installation, trained, until=is_back, most=MOST_REQUESTS)
    back_at = time.time()
    ended = manager.deployments.get(started.deployment_id)
    assert ended.status is DeploymentStatus.ROLLED_BACK, (ended.status, ended.reason, Counter(a.status for a in during))
    assert trained.why in ended.reason
    second = [answer for answer in during if answer.body.get("version") == trained.second]
    assert second, "the second version answered somebody"
    assert mixed(installation, trained, before + during) == []

    after = traffic(installation, trained, until=lambda: False, most=80)
    assert {(answer.status, answer.body.get("version")) for answer in after} == {(OK, trained.first)}
    assert mixed(installation, trained, after) == []
    assert manager.get_model_status(trained.name)["live"] == trained.first

    history = ReleaseHistory.model_validate_json(manager.history(trained.name).model_dump_json())
    log_keys = published_keys(audit_directory(manager.settings))
    check = verify_history(history, signing_key(manager.settings).public, log_keys)
    assert check.holds, (check.faults, check.unproven)
    told = [item.event.kind for item in history.events if item.event.subject == f"{trained.name}@{trained.second}"]
    assert Counter(told)["release.rolled_back"] == 1
    assert history.live[-1].version == trained.first

    bad = [answer for answer in during if answer.status != OK] or second
    figures = {
        "requests": len(during), "by_status": dict(Counter(a.status for a in during)), "of_the_second": len(second),
        "seconds_from_the_first_bad_answer_to_the_table_in_force": round(back_at - min(a.at for a in bad), 2),
        "load_seconds": installation.load_seconds(trained.name, trained.first), "reason": ended.reason,
    }  # fmt: skip
    record_property("figures", figures)
