"""The training service on a real cluster: its application answers there, and its sessions are Ray jobs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from acgs.cli.local_cluster import LocalCluster
from acgs.learning.sessions.runner import Job, JobPhase
from acgs.learning.sessions.scheduler import Limits, Scheduler
from acgs.learning.sessions.session import Session, Status
from acgs.learning.sessions.sql_store import SqlSessionStore
from acgs.learning.sessions.workspace import SessionFiles
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import Role
from acgs.settings import Settings
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade

PREFIX = "/api/v1/train"
JOB = Path(__file__).with_name("stand_in_job.py")
START_SECONDS = 300.0
STOP_SECONDS = 10.0
"""What the service promises for a cancelled job."""


class Unobserved:
    """Nobody listens."""

    def record_end(self, session: Session) -> None:
        pass

    def ended(self, session: Session) -> None:
        pass


class Cluster:
    """A scheduler on a real cluster, with a store of its own."""

    def __init__(self, address: str, root: Path) -> None:
        from serve_apps.training_jobs import RayJobRunner

        engine = open_engine(default_url(root))
        upgrade(engine)
        self.root = root
        self.store = SqlSessionStore(engine)
        self.runner = RayJobRunner(self.files, address=address, program=(sys.executable, str(JOB)))
        self.scheduler = self.new_scheduler()

    def new_scheduler(self) -> Scheduler:
        return Scheduler(
            self.store, self.runner, limits=Limits(2, 9), output=lambda name: self.files(name).output,
            observer=Unobserved(),
        )  # fmt: skip

    def files(self, session_id: str) -> SessionFiles:
        return SessionFiles(self.root, session_id)

    def start(self, name: str, wanted: str) -> str:
        identity = f"{name}-{time.time_ns()}"
        session = Session(identity, "mia", "tiny", "m", 600.0, datetime.now(UTC))
        self.scheduler.admit(session)
        files = self.files(identity)
        files.folder.mkdir()
        files.run_file.write_text(wanted)
        self.scheduler.ready(identity)
        return identity

    def wait(self, holds: Callable[[], bool], seconds: float) -> float:
        """Tick until `holds`; returns the seconds that took."""
        started = time.monotonic()
        while not holds():
            assert time.monotonic() - started < seconds, self.store.page(subject=None, before=None, limit=9)
            for fault in self.scheduler.tick():
                # Ray's job agent comes up some time after the node.
                assert fault.code == "unavailable", fault
            time.sleep(0.2)
        return time.monotonic() - started


@pytest.fixture
def cluster(platform_cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    from ray._private.authentication_test_utils import reset_auth_token_state

    with monkeypatch.context() as context:
        context.setenv("RAY_AUTH_MODE", "token")
        # Ray remembers the mode that the process began with.
        reset_auth_token_state()
        yield Cluster(platform_cluster.dashboard, tmp_path)
    reset_auth_token_state()


def test_sessions_run_as_jobs_are_cancelled_in_time_and_survive_their_scheduler(cluster: Cluster) -> None:
    long = cluster.start("long", "run")
    short = cluster.start("short", "finish")
    refused = cluster.start("refused", "refuse")
    progress = cluster.files(long).output / "progress.json"
    cluster.wait(progress.exists, START_SECONDS)

    # Another scheduler takes over; the job that runs is neither lost nor started again.
    cluster.scheduler = cluster.new_scheduler()
    cluster.wait(lambda: cluster.store.get(short).has_ended and cluster.store.get(refused).has_ended, START_SECONDS)
    assert cluster.store.get(short).status is Status.COMPLETED
    failed = cluster.store.get(refused)
    assert (failed.status, failed.error_message) == (Status.FAILED, "acgs: the rows hold no answers")
    assert cluster.store.get(long).status is Status.RUNNING
    assert cluster.runner.status(long) == Job(JobPhase.ALIVE)

    cluster.runner.submit(long)
    lines = cluster.runner.logs(long, 3).splitlines()
    assert 1 <= len(lines) <= 3
    assert all(line.startswith("step ") for line in lines)
    assert int(lines[-1].split()[1]) > 1

    cluster.scheduler.cancel(long)
    took = cluster.wait(lambda: cluster.store.get(long).has_ended, 60)
    steps = progress.read_bytes()
    assert cluster.store.get(long).status is Status.CANCELLED
    assert took < STOP_SECONDS
    time.sleep(1)
    assert progress.read_bytes() == steps
    assert (cluster.files(long).output / "checkpoint").read_text() == long
    assert cluster.runner.status("nobody") is None


def test_the_application_answers_under_its_prefix_and_lets_in_who_has_a_token(
    platform_cluster: LocalCluster, client: httpx.Client
) -> None:
    state = Path(platform_cluster.state_dir)
    token = TokenIssuer.open(Settings(state_dir=state)).issue("mia", [Role.TRAINER], timedelta(hours=1))
    header = {"authorization": f"Bearer {token.text}"}
    assert client.get(f"{PREFIX}/health").json()["status"] == "healthy"
    assert client.get(PREFIX).status_code == 401
    assert client.get(PREFIX, headers=header).json() == {"sessions": [], "next": None}
    refused = client.post(PREFIX, json={"model_name": "tiny"}, headers=header)
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "training_data")
    assert "constitutional_training_sessions_active" in client.get(f"{PREFIX}/metrics").text
    assert client.get("/api/v1/enhanced-governance/health").status_code == 200
