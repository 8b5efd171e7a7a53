"""A local Ray cluster with the platform's applications: `acgs cluster up`, `status`, `down`.

Ray runs as `ray start --head --block` in a session of its own; only that process and its children are ever ended.
The applications go up through Ray's REST interface, so that this command needs not import Ray.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from acgs.errors import InvalidInputError, UnavailableError
from acgs.files import write_atomic

CLUSTER_FILE = "cluster.json"
LOG_FILE = "ray-start.log"
DASHBOARD_PORT = 8265
"""Where `ray job submit` looks; another is taken when it is in use."""
START_TRIES = 3
START_TIMEOUT_SECONDS = 300.0
DEPLOY_TIMEOUT_SECONDS = 900.0
STOP_TIMEOUT_SECONDS = 60.0
PLACES_FOR_SERVICES = 2
"""Logical CPUs; `cluster/serve.yaml` asks for less."""
_POLL_SECONDS = 0.5
_HTTP_OK = 200
_ERROR_LINE = re.compile(r"^(?:\w+\.)*\w+Error: (.+)$", re.MULTILINE)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A running local cluster."""

    pid: int
    dashboard: str
    url: str
    state_dir: str


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(state: Path) -> dict[str, str]:
    """Ray's environment: token authentication on, the fast path of Serve, nothing sent home.

    Services act for nobody but their callers, so the token of whoever starts them stays here; and no header says where
    a request comes from unless the person names an ingress that may. A job's `python` is this one, also where its
    environment was not activated.
    """
    own = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if name not in ("ACGS_TOKEN", "ACGS_TOKEN_FILE")}
    return {
        "FORWARDED_ALLOW_IPS": "",
        **kept,
        "PATH": os.pathsep.join(filter(None, (own, os.environ.get("PATH")))),
        "RAY_AUTH_MODE": "token",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "ACGS_STATE_DIR": str(state),
    }


def _token() -> str:
    """Ray's authentication token of this user, made by Ray on first use."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", str(Path.home() / ".ray" / "auth_token")))
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"]
    if not path.exists():
        ray = _executable("ray")
        subprocess.run([ray, "get-auth-token", "--generate"], check=True, capture_output=True)  # noqa: S603
    return path.read_text(encoding="utf-8").strip()


def _executable(name: str) -> str:
    """A program of this Python's environment."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise UnavailableError(f"'{name}' is not installed beside {Path(sys.executable).name}; run 'make demo'")
    return str(path)


class ClusterControl:
    """Starts, watches and stops the cluster of one state directory."""

    def __init__(self, state: Path, progress: Progress) -> None:
        self._state = state.resolve()
        self._progress = progress

    def current(self) -> LocalCluster | None:
        """The running cluster, or None; a stale record is not a cluster."""
        path = self._state / CLUSTER_FILE
        try:
            cluster = LocalCluster(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return cluster if _is_ours(cluster.pid) else None

    def start(self, config: Path, *, port: int) -> LocalCluster:
        """Start Ray, deploy `config` and wait until every application runs.

        Raises:
            InvalidInputError: the configuration is unusable or its port is taken.
            UnavailableError: Ray did not start, or an application failed; what was started is stopped again.
        """
        document = _read_config(config, port)
        running = self.current()
        if running is not None:
            # What runs is never stopped by a start that fails.
            if running.url != f"http://127.0.0.1:{port}":
                raise InvalidInputError(
                    f"a cluster runs already at {running.url}; stop it first with 'acgs cluster down'", field="port"
                )
            self._progress(f"already running (process {running.pid})")
            self._deploy(running, document)
            return running
        _require_free(port)
        cluster = self._start_ray(port)
        write_atomic(self._state / CLUSTER_FILE, json.dumps(asdict(cluster)).encode())
        try:
            self._deploy(cluster, document)
        except BaseException:
            self.stop()
            raise
        return cluster

    def stop(self) -> bool:
        """Stop the cluster; False if none was running."""
        cluster = self.current()
        (self._state / CLUSTER_FILE).unlink(missing_ok=True)
        if cluster is None:
            return False
        os.kill(cluster.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while _is_ours(cluster.pid) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if _is_ours(cluster.pid):
            os.killpg(cluster.pid, signal.SIGKILL)
        return True

    def applications(self, cluster: LocalCluster) -> dict[str, Any]:
        """Serve's own account of the applications."""
        response = httpx.get(f"{cluster.dashboard}/api/serve/applications/", headers=_headers(), timeout=30)
        response.raise_for_status()
        found: dict[str, Any] = response.json()["applications"]
        return found

    def _start_ray(self, port: int) -> LocalCluster:
        """Ray's agents have a hard 15 s limit to come up, which a busy machine misses; so the start is retried."""
        self._state.mkdir(parents=True, exist_ok=True)
        _token()
        for attempt in range(1, START_TRIES + 1):
            dashboard_port = DASHBOARD_PORT if _is_free(DASHBOARD_PORT) else free_port()
            command = [
                _executable("ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1",
                f"--port={free_port()}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard_port}",
                # Jobs reach their agent here; beside another Ray on this host, the usual port would be taken.
                f"--dashboard-agent-listen-port={free_port()}",
                "--include-dashboard=true", "--disable-usage-stats",
                # The services' places come on top of the cores, so that a job finds all of the cores.
                f"--num-cpus={(os.cpu_count() or 1) + PLACES_FOR_SERVICES}",
            ]  # fmt: skip
            with (self._state / LOG_FILE).open("ab") as log:
                process = subprocess.Popen(  # noqa: S603
                    command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_environment(self._state),
                    cwd=Path.cwd(), start_new_session=True,
                )  # fmt: skip
            cluster = LocalCluster(
                process.pid, f"http://127.0.0.1:{dashboard_port}", f"http://127.0.0.1:{port}", str(self._state)
            )
            if self._wait_for_dashboard(process, cluster, attempt):
                return cluster
            if process.poll() is None:
                process.terminate()
                process.wait(STOP_TIMEOUT_SECONDS)
        raise UnavailableError(f"Ray did not start in {START_TRIES} tries; see {self._state / LOG_FILE}")

    def _wait_for_dashboard(self, process: subprocess.Popen[bytes], cluster: LocalCluster, attempt: int) -> bool:
        started = time.monotonic()
        while time.monotonic() - started < START_TIMEOUT_SECONDS and process.poll() is None:
            self._progress(f"starting Ray (try {attempt}, {time.monotonic() - started:.0f} s)")
            try:
                answer = httpx.get(f"{cluster.dashboard}/api/version", headers=_headers(), timeout=5)
                if answer.status_code == _HTTP_OK:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(_POLL_SECONDS)
        return False

    def _deploy(self, cluster: LocalCluster, document: dict[str, Any]) -> None:
        started = time.monotonic()
        response = httpx.put(
            f"{cluster.dashboard}/api/serve/applications/", headers=_headers(), json=document, timeout=300
        )
        if response.status_code != _HTTP_OK:
            raise UnavailableError(f"Serve refused the configuration: {response.text[:300]}")
        while time.monotonic() - started < DEPLOY_TIMEOUT_SECONDS:
            states = self.applications(cluster)
            shown = ", ".join(f"{name}: {app['status'].lower()}" for name, app in states.items()) or "waiting"
            self._progress(f"deploying ({time.monotonic() - started:.0f} s): {shown}")
            if states and all(app["status"] == "RUNNING" for app in states.values()):
                return
            for name, app in states.items():
                if app["status"] == "DEPLOY_FAILED":
                    raise UnavailableError(f"application '{name}' failed: {_cause(app)}")
            time.sleep(_POLL_SECONDS)
        raise UnavailableError(f"the applications did not come up; see {self._state / LOG_FILE}")


def _cause(application: dict[str, Any]) -> str:
    """The error that a failed application's replicas died of, else Serve's own last line."""
    messages = [deployment.get("message", "") for deployment in application.get("deployments", {}).values()]
    errors = _ERROR_LINE.findall("\n".join(messages))
    return str(errors[-1]) if errors else str(application["message"].strip().splitlines()[-1])


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {_token()}"}


def _is_ours(pid: int) -> bool:
    """Whether the process lives and is the `ray start` that we launched (ids are used again)."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes() if Path("/proc").exists() else b"ray\0start"
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8") if Path("/proc").exists() else "0 (ray) S"
    except OSError:
        return False
    return b"start\0--head" in command and status.rsplit(")", 1)[1].split()[0] != "Z"


def _read_config(path: Path, port: int) -> dict[str, Any]:
    try:
        document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInputError(
            f"cannot read {path}; run from the repository or give --config", field="config"
        ) from error
    document.setdefault("http_options", {})["port"] = port
    return document


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _require_free(port: int) -> None:
    if not _is_free(port):
        raise InvalidInputError(f"port {port} is taken; choose another with --port", field="port")
