"""What tests of every part share. Heavy imports stay inside the fixtures that need them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# The tests' tensors are small: threads that wait for each other cost more than they bring. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from acgs.constitution.lock import LockedConstitution

ROOT = Path(__file__).resolve().parent.parent
WITH_RAY = ("serve_apps", "train_jobs", "tune_sweeps")
"""Folders whose tests use the one Ray cluster or start Ray jobs: they never run beside each other."""
REDIS_START_SECONDS = 30.0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Spread the tests over processes by file, and keep all that use Ray in one."""
    from xdist.scheduler import LoadScopeScheduling

    class RayInOneProcess(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "ray" if Path(file).parts[1] in WITH_RAY else file

    return RayInOneProcess(config, log)


@pytest.fixture(scope="session")
def constitution() -> LockedConstitution:
    """The shipped constitution, checked against its lock."""
    from acgs.constitution.source import load_locked

    return load_locked()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets, which the repository does not hold."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets are not on this machine")
    return folder


class RedisServer:
    """A redis-server of its own on a free loopback port; it is ended through its process handle only."""

    def __init__(self, folder: Path) -> None:
        executable = shutil.which("redis-server")
        if executable is None:
            pytest.skip("redis-server is not installed and ACGS_TEST_REDIS_URL is not set")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        arguments = {"port": self._port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen([executable, *words], stdout=subprocess.DEVNULL)
        self._wait()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def _wait(self) -> None:
        deadline = time.monotonic() + REDIS_START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                time.sleep(0.05)
        self.kill()
        pytest.skip("redis-server did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may kill."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that the session shares."""
    given = os.environ.get("ACGS_TEST_REDIS_URL")
    if given:
        yield given
        return
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.kill()
