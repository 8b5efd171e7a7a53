"""Jobs reach the cluster by `ray job submit`, as the README says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from acgs.cli.local_cluster import LocalCluster

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_guard_job_runs_by_ray_job_submit(platform_cluster: LocalCluster, shared_data: Path) -> None:
    ray = Path(sys.executable).parent / "ray"
    command = [
        str(ray), "job", "submit", "--address", platform_cluster.dashboard, "--working-dir", ".",
        "--runtime-env", "cluster/runtime_env.yaml", "--",
        "python", "-m", "train_jobs.guard", "--check", "--data", str(shared_data), "--output", "unused",
    ]  # fmt: skip
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}
    deadline = time.monotonic() + 300
    while True:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=REPOSITORY, timeout=500, check=False
        )
        # Ray's job agent comes up some time after the node; until then submission asks to be tried again.
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            break
        time.sleep(5)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "corpus:" in done.stdout
