"""Sessions as Ray jobs, over the REST interface of the cluster's dashboard."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import requests
from ray.job_submission import JobStatus, JobSubmissionClient

from acgs.errors import UnavailableError
from acgs.learning.sessions.runner import Job, JobPhase
from acgs.learning.sessions.workspace import SessionFiles

TIMEOUT_SECONDS: Final = 10.0
MAX_LOG_CHARS: Final = 1024 * 1024
TRAINING_PROGRAM: Final = (sys.executable, "-m", "train_jobs.constitutional")

_OK: Final = 200
_NOT_FOUND: Final = 404
_PHASES: Final = {
    JobStatus.PENDING: JobPhase.ALIVE,
    JobStatus.RUNNING: JobPhase.ALIVE,
    JobStatus.STOPPED: JobPhase.STOPPED,
    JobStatus.SUCCEEDED: JobPhase.SUCCEEDED,
    JobStatus.FAILED: JobPhase.FAILED,
}


class _Dashboard(JobSubmissionClient):
    """Ray's client, for its addresses and tokens, with a time limit on every request and 404 told from a fault."""

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self._do_request(method, path, timeout=TIMEOUT_SECONDS, **options)


class RayJobRunner:
    """`JobRunner` on the Ray cluster that this process belongs to, or on the one at `address`."""

    def __init__(
        self,
        files: Callable[[str], SessionFiles],
        *,
        address: str | None = None,
        program: Sequence[str] = TRAINING_PROGRAM,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        """`program` is started with `--config`, `--output` and `--session` behind it."""
        self._files = files
        self._address = address
        self._program = tuple(program)
        self._runtime_env = dict(runtime_env or {})
        self._client: _Dashboard | None = None
        self._lock = threading.Lock()

    def submit(self, session_id: str) -> None:
        """See `JobRunner.submit`."""
        files = self._files(session_id)
        words = [*self._program, "--config", files.run_file, "--output", files.output, "--session", session_id]
        job = {
            "entrypoint": "exec " + shlex.join(str(word) for word in words),
            "submission_id": job_id(session_id),
            "runtime_env": self._runtime_env,
            "metadata": {"training_id": session_id},
        }
        answer = self._ask("POST", "/api/jobs/", json_data=job)
        # Ray refuses an id that it knows: then the job is there already, which is what was asked for.
        if answer.status_code != _OK and self.status(session_id) is None:
            raise UnavailableError(f"the cluster did not take the job (status {answer.status_code})")

    def status(self, session_id: str) -> Job | None:
        """See `JobRunner.status`."""
        answer = self._ask("GET", f"/api/jobs/{job_id(session_id)}")
        if answer.status_code == _NOT_FOUND:
            return None
        details = _checked(answer).json()
        return Job(_PHASES[JobStatus(details["status"])], details.get("driver_exit_code"))

    def stop(self, session_id: str) -> None:
        """See `JobRunner.stop`. Ray sends SIGTERM, and SIGKILL after 3 seconds."""
        _checked(self._ask("POST", f"/api/jobs/{job_id(session_id)}/stop"))

    def logs(self, session_id: str, lines: int) -> str:
        """See `JobRunner.logs`. At most `MAX_LOG_CHARS` of them."""
        text: str = _checked(self._ask("GET", f"/api/jobs/{job_id(session_id)}/logs")).json()["logs"]
        return "\n".join(text[-MAX_LOG_CHARS:].splitlines()[-lines:])

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            with self._lock:
                if self._client is None:
                    self._client = _Dashboard(self._address)
                client = self._client
            return client.ask(method, path, **options)
        except (requests.RequestException, OSError, RuntimeError) as error:
            raise UnavailableError(f"the cluster's job interface does not answer ({type(error).__name__})") from error


def job_id(session_id: str) -> str:
    """Ray's submission id for a session: always the same, so that a session never has two jobs."""
    return f"acgs-training-{session_id}"


def _checked(answer: requests.Response) -> requests.Response:
    if answer.status_code != _OK:
        raise UnavailableError(f"the cluster's job interface refused (status {answer.status_code})")
    return answer
