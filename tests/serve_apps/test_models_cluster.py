"""Blue and green on the platform's cluster: versions flip under load, and nobody gets half of one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from acgs.cli.local_cluster import ClusterControl, LocalCluster
from acgs.serving.replicas import LOST_AFTER_SECONDS, ReplicaState, routers_on, slot_readiness
from acgs.serving.routing import ModelRoute, Slot
from acgs.serving.sql_store import SqlServingStore
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade
from tests.acgs.serving.models import write_constant
from tests.serve_apps.conftest import REPOSITORY

LABEL = "cdd01ef066bc6cf2"
PATIENCE_SECONDS = 180.0
MODEL = "constant"
VALUES = {"1.0.0": 1.0, "2.0.0": 2.0}


class Platform:
    """What a release does, without its rules: tables in, states out."""

    def __init__(self, cluster: LocalCluster, client: httpx.Client, folder: Path) -> None:
        engine = open_engine(default_url(Path(cluster.state_dir)))
        upgrade(engine)
        self.store = SqlServingStore(engine)
        self.client = client
        self.folder = folder
        self._cluster = cluster

    def replicas(self) -> list[ReplicaState]:
        return self.store.replicas(alive_since=time.time() - LOST_AFTER_SECONDS)

    def route(self, **fields: Any) -> int:
        """Put a route in force and wait for every router."""
        models = {**self.store.latest().models, MODEL: ModelRoute(**fields)}
        epoch = self.store.append(models, actor="test", reason="test").epoch
        wait_for(lambda: routers_on(self.replicas(), epoch))
        return epoch

    def ready(self, slot: Slot, version: str) -> None:
        wait_for(lambda: slot_readiness(self.replicas(), slot, MODEL, version).ready)

    def predict(self, **headers: str) -> httpx.Response:
        return self.client.post(
            f"/models/{MODEL}/predict", json={"instances": [[0.5, 0.5], [1, 2]]}, headers=headers, timeout=60
        )

    def control_plane(self) -> int:
        """The process of Ray's control plane (GCS) on the head node."""
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                parent = next(line for line in status.read_text().splitlines() if line.startswith("PPid:"))
                command = status.with_name("cmdline").read_bytes()
            except (OSError, StopIteration):
                continue  # it ended meanwhile
            if int(parent.split()[1]) == self._cluster.pid and b"gcs_server" in command.split(b"\0")[0]:
                return int(status.parent.name)
        raise AssertionError("the cluster has no control plane")

    def kill(self, deployment: str) -> None:
        """End the process of a deployment's only replica, as a machine would lose it."""
        found = ClusterControl(Path(self._cluster.state_dir), lambda _line: None).applications(self._cluster)
        (replica,) = found["models"]["deployments"][deployment]["replicas"]
        os.kill(replica["pid"], signal.SIGKILL)


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def platform(platform_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The shipped application, which rests until someone asks, and two versions on disk."""
    folder = tmp_path_factory.mktemp("models")
    for version, value in VALUES.items():
        write_constant(folder / MODEL / version, value)
    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    models = next(item for item in document["applications"] if item["name"] == "models")
    models["runtime_env"]["env_vars"] |= {
        "ACGS_MODEL_FOLDER": str(folder),
        "ACGS_MODEL_REQUESTS_PER_SECOND": "10000",
        "ACGS_MODEL_REQUEST_BURST": "10000",
    }
    for deployment in models["deployments"]:
        deployment["autoscaling_config"]["max_replicas"] = 1
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    port = int(platform_cluster.url.rsplit(":", 1)[1])
    ClusterControl(Path(platform_cluster.state_dir), lambda _line: None).start(path, port=port)
    with httpx.Client(base_url=platform_cluster.url, timeout=120) as client:
        yield Platform(platform_cluster, client, folder)


def test_a_flip_and_a_rollback_under_load_lose_and_mix_no_request(platform: Platform) -> None:
    assert platform.predict().status_code == 404
    platform.route(blue="1.0.0")
    platform.ready(Slot.BLUE, "1.0.0")
    first = platform.predict().json()
    assert (first["version"], first["slot"], first["predictions"]) == ("1.0.0", "blue", [1.0, 1.0])
    platform.route(blue="1.0.0", green="2.0.0")
    platform.ready(Slot.GREEN, "2.0.0")

    answers: list[httpx.Response] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(platform.predict())

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    epochs = {}
    for live in (Slot.GREEN, Slot.BLUE, Slot.GREEN):
        before = len(answers)
        wait_for(lambda before=before: len(answers) >= before + 50)  # type: ignore[misc]
        epochs[platform.route(blue="1.0.0", green="2.0.0", live=live)] = live
        at = len(answers)
        wait_for(lambda at=at: len(answers) >= at + 50)  # type: ignore[misc]
    stop.set()
    for caller in callers:
        caller.join()

    assert Counter(answer.status_code for answer in answers) == {200: len(answers)}
    bodies = [answer.json() for answer in answers]
    assert all(body["predictions"] == [VALUES[body["version"]]] * 2 for body in bodies)
    for body in bodies:
        live = epochs.get(body["epoch"], Slot.BLUE)
        assert (body["slot"], body["version"]) == (live, "1.0.0" if live is Slot.BLUE else "2.0.0")
    assert {body["epoch"] for body in bodies} >= epochs.keys()


def test_a_flip_takes_effect_while_the_control_plane_stands_still(platform: Platform) -> None:
    stopped = platform.control_plane()
    os.kill(stopped, signal.SIGSTOP)
    try:
        for live, version in ((Slot.BLUE, "1.0.0"), (Slot.GREEN, "2.0.0")):
            epoch = platform.route(blue="1.0.0", green="2.0.0", live=live)
            wait_for(lambda epoch=epoch: platform.predict().json()["epoch"] == epoch)  # type: ignore[misc]
            assert platform.predict().json()["version"] == version
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_what_is_deployed_is_shown(platform: Platform) -> None:
    listed = platform.client.get("/models").json()
    assert listed["models"][MODEL]["slots"].keys() == {"blue", "green"}
    assert {replica["deployment"] for replica in listed["replicas"]} == {"ModelRouter", "SlotBlue", "SlotGreen"}
    one = platform.client.get(f"/models/{MODEL}").json()
    assert one["slots"]["blue"]["input"]["type"] == "array"
    assert platform.client.get("/models/health").json()["status"] == "healthy"
    assert f'model="{MODEL}"' in platform.client.get("/models/metrics").text


def test_a_shadow_is_asked_and_counted_and_answers_nobody(platform: Platform) -> None:
    platform.route(blue="1.0.0", green="2.0.0", shadow=True)
    assert {platform.predict().json()["version"] for _ in range(5)} == {"1.0.0"}

    def copies() -> tuple[int, int]:
        # From the beginning: a router that was held up opened the window that counts them long before this test.
        windows = platform.store.windows(MODEL, since=0, version="2.0.0")
        return sum(item.shadow_requests for item in windows), sum(item.shadow_agreed for item in windows)

    wait_for(lambda: copies() == (5, 0))


def test_a_broken_version_never_becomes_ready_and_costs_the_live_one_nothing(platform: Platform) -> None:
    broken = write_constant(platform.folder / MODEL / "3.0.0", 3.0)
    (broken / "model.skops").write_bytes(b"broken on purpose")
    platform.route(blue="1.0.0", green="3.0.0")
    wait_for(lambda: "failed" in slot_readiness(platform.replicas(), Slot.GREEN, MODEL, "3.0.0").reason)
    assert platform.predict().json()["version"] == "1.0.0"
    platform.route(blue="1.0.0", green="3.0.0", live=Slot.GREEN)
    refused = platform.predict()
    assert refused.status_code == 503
    assert "cannot be loaded" in refused.json()["detail"]
    platform.route(blue="1.0.0", green="3.0.0")
    assert platform.predict().json()["version"] == "1.0.0"


def test_a_killed_slot_replica_comes_back_with_its_version(platform: Platform) -> None:
    platform.route(blue="1.0.0")
    before = next(replica for replica in platform.replicas() if replica.slot is Slot.BLUE)
    platform.kill("SlotBlue")
    wait_for(
        lambda: any(
            replica.slot is Slot.BLUE and replica.replica_id != before.replica_id for replica in platform.replicas()
        )
    )
    answer = platform.predict()
    assert (answer.status_code, answer.json()["version"]) == (200, "1.0.0")
