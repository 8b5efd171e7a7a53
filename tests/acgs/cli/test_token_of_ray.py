"""Ray's own token authentication is on wherever the platform starts a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from acgs.cli.local_cluster import ClusterControl, LocalCluster, free_port

REPOSITORY = Path(__file__).resolve().parents[3]


class StartedError(Exception):
    """Ray would run now."""


def texts(node: Any) -> Iterator[str]:
    """All texts in a YAML document."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from texts(inner)


@pytest.mark.parametrize("said", [None, "disabled", "token"])
def test_a_local_cluster_asks_for_a_token_whatever_the_environment_says(
    said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def popen(command: list[str], **options: Any) -> None:
        started.append((command, options["env"]))
        raise StartedError

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.setenv("ACGS_TOKEN", "of whoever starts it")
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if said is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", said)
    with pytest.raises(StartedError):
        ClusterControl(tmp_path, lambda _: None).start(REPOSITORY / "cluster" / "serve.yaml", port=free_port())
    ((command, environment),) = started
    assert environment["RAY_AUTH_MODE"] == "token"
    assert "a" * 64 not in " ".join(command)
    # Services act for their callers alone, and take no header's word for where a request comes from.
    assert "ACGS_TOKEN" not in environment
    assert environment["FORWARDED_ALLOW_IPS"] == ""
    assert "--dashboard-host=127.0.0.1" in command


def test_what_speaks_to_the_cluster_shows_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str | None] = []

    def get(url: str, *, headers: dict[str, str], **_: Any) -> httpx.Response:
        shown.append(headers.get("Authorization"))
        return httpx.Response(200, json={"applications": {}}, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    cluster = LocalCluster(1, "http://127.0.0.1:1", "http://127.0.0.1:2", str(tmp_path))
    assert ClusterControl(tmp_path, lambda _: None).applications(cluster) == {}
    assert shown == ["Bearer " + "a" * 64]


def test_every_command_of_a_cluster_file_that_starts_ray_or_deploys_says_token() -> None:
    commands = [
        text
        for path in sorted((REPOSITORY / "cluster").rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        for text in texts(document)
        if "ray start" in text or "serve deploy" in text
    ]
    assert commands
    assert [command for command in commands if "RAY_AUTH_MODE=token" not in command] == []
