"""One Ray cluster for the whole session, started as a user starts it: `acgs cluster up`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from acgs.cli.local_cluster import ClusterControl, LocalCluster, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
LIMITS = {"RATE_LIMIT_REQUESTS_PER_SECOND": "100", "RATE_LIMIT_BURST_CAPACITY": "200"}


@pytest.fixture(scope="session")
def platform_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    os.environ.update(LIMITS)
    control = ClusterControl(tmp_path_factory.mktemp("state"), lambda _line: None)
    cluster = control.start(REPOSITORY / "cluster" / "serve.yaml", port=free_port())
    yield cluster
    control.stop()


@pytest.fixture
def client(platform_cluster: LocalCluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=platform_cluster.url, timeout=120) as session:
        yield session
