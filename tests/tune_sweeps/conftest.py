"""A judged corpus of made documents for the sweeps over retrieval, and one Ray cluster for their jobs."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.judged_corpus import write_judged_corpus

CLUSTER = """
import sys, ray
ray.init(address="local", include_dashboard=False)
print("address", ray.get_runtime_context().gcs_address)
sys.stdin.read()
"""
PATIENCE_SECONDS = 300

SweepFile = Callable[..., Path]
StoppedAndResumed = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def judged_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `corpus` and the `encoder` for it."""
    return write_judged_corpus(tmp_path_factory.mktemp("judged"))


@pytest.fixture
def sweep_file(judged_corpus: Path, tmp_path: Path) -> SweepFile:
    """Writes a sweep file over the corpus; a setting of None is left out."""

    def write(**settings: Any) -> Path:
        usual = {"name": "made", "corpus": str(judged_corpus / "corpus"), "encoder": str(judged_corpus / "encoder")}
        path = tmp_path / "sweep.yaml"
        values = {key: value for key, value in {**usual, **settings}.items() if value is not None}
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def job_environment() -> Iterator[dict[str, str]]:
    """The environment of jobs in a cluster that outlives those which are killed in it."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen(
        [sys.executable, "-u", "-c", CLUSTER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert job.stdin is not None
    assert job.stdout is not None
    address = next(line.split()[1] for line in job.stdout if line.startswith("address"))
    yield environment | {"RAY_ADDRESS": address}
    job.stdin.close()
    job.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture
def stopped_and_resumed(job_environment: dict[str, str]) -> StoppedAndResumed:
    """Starts a sweep, stops it when its second trial has ended, starts it again, and returns its JSON answer."""

    def run(module: str, config: Path, output: Path, *, by: signal.Signals) -> dict[str, Any]:
        command = [sys.executable, "-m", module, "--config", str(config), "--output", str(output), "--json"]
        trials = output / "trials.jsonl"
        with (output.parent / "log").open("w") as log:
            first = subprocess.Popen(command, env=job_environment, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(lines(trials)) < 2 and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        first.send_signal(by)
        expected = -signal.SIGKILL if by is signal.SIGKILL else 1
        assert first.wait(timeout=PATIENCE_SECONDS) == expected, (output.parent / "log").read_text()[-3000:]
        before = lines(trials)
        again = subprocess.run(
            command, env=job_environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
        assert lines(trials)[: len(before)] == before
        answer: dict[str, Any] = json.loads(again.stdout)
        return answer

    return run


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
