"""A replica without Ray: how it asks the second tier, and what it says of its health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from acgs.errors import UnavailableError
from acgs.governance.schema import GovernanceRequest
from serve_apps.replica import GovernanceReplica, RemoteLogits, open_replica

Opened = Callable[[RemoteLogits | None], GovernanceReplica]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Opens replicas that are never confident, so that the second tier is asked about everything."""
    for name, value in (("ACGS_STATE_DIR", str(tmp_path)), ("CONFIDENCE_THRESHOLD", "1.0"), ("MAX_RETRIES", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENABLE_PROMETHEUS_METRICS", "false")
    replicas: list[GovernanceReplica] = []

    def opening(remote: RemoteLogits | None) -> GovernanceReplica:
        replicas.append(open_replica({}, remote))
        return replicas[-1]

    yield opening
    for replica in replicas:
        replica.close()


def ask(replica: GovernanceReplica) -> dict[str, Any]:
    request = GovernanceRequest(query="How do I bake bread?", mode="comprehensive")
    answer: dict[str, Any] = orjson.loads(asyncio.run(replica.service.evaluate(request, "test")).body)
    return answer


class Flaky:
    """A second tier that fails so many times before it answers."""

    def __init__(self, heads: int, *failures: Exception) -> None:
        self._failures, self._heads, self.calls = list(failures), heads, 0

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return np.full((len(texts), self._heads), -4.0, dtype=np.float32)


def heads_of(opened: Opened) -> int:
    return len(opened(None).service.governor.bundle.manifest.heads)


def test_a_second_tier_that_fails_is_asked_again(opened: Opened) -> None:
    tier = Flaky(heads_of(opened), ConnectionError(), ConnectionError())
    assert ask(opened(tier))["tier"] == "comprehensive"
    assert tier.calls == 3


def test_a_second_tier_that_keeps_failing_leaves_the_inline_answer_and_says_why(opened: Opened) -> None:
    tier = Flaky(heads_of(opened), *[ConnectionError() for _ in range(9)])
    answer = ask(opened(tier))
    assert (answer["tier"], answer["final_decision"], tier.calls) == ("inline", "uncertain", 3)
    assert any("ConnectionError" in line for line in answer["recommendations"])


def test_a_second_tier_that_says_it_cannot_score_is_not_asked_again(opened: Opened) -> None:
    tier = Flaky(heads_of(opened), UnavailableError("install acgs[train]"))
    answer = ask(opened(tier))
    assert tier.calls == 1
    assert any("install acgs[train]" in line for line in answer["recommendations"])


def test_health_names_its_targets_and_is_no_failure_without_traffic(opened: Opened) -> None:
    health = opened(None).health()
    assert (health["status"], health["issues"]) == ("healthy", [])
    assert health["targets"].keys() == health["metrics"].keys()
    assert health["targets"]["p99_latency_ms"] == 5.0
