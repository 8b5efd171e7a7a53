"""Retrieval on the platform's cluster: a user_config puts an index in force, and swaps it without a restart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from acgs.cli.index_swap import require_index
from acgs.cli.local_cluster import ClusterControl, LocalCluster
from acgs.errors import UnavailableError
from acgs.retrieval.configuration import RetrievalConfiguration, Route, write_configuration
from acgs.retrieval.encoders import open_encoder
from acgs.retrieval.index import build_index
from tests.acgs.retrieval.corpora import TINY, write_static_encoder
from tests.serve_apps.conftest import REPOSITORY

LABEL = "cdd01ef066bc6cf2"
SWAP_SECONDS = 120.0


def deploy(cluster: LocalCluster, folder: Path, user_config: dict[str, Any]) -> Path:
    """What `serve deploy` does: the whole configuration with another user_config; the file that was deployed."""
    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    retrieval = next(item for item in document["applications"] if item["name"] == "retrieval")
    retrieval["deployments"][0]["user_config"] = user_config
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    port = int(cluster.url.rsplit(":", 1)[1])
    ClusterControl(Path(cluster.state_dir), lambda _line: None).start(path, port=port)
    return path


def replicas(cluster: LocalCluster) -> set[str]:
    """Those that answer: one that Serve is ending is still in its list."""
    found = ClusterControl(Path(cluster.state_dir), lambda _line: None).applications(cluster)
    listed = found["retrieval"]["deployments"]["Retrieval"]["replicas"]
    return {item["replica_id"] for item in listed if item["state"] == "RUNNING"}


def search(client: httpx.Client) -> dict[str, Any]:
    response = client.post(
        "/retrieval/search",
        json={"query": "river flood", "topk": 2, "constitutional_hash": LABEL},
        timeout=SWAP_SECONDS,
    )
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_an_index_goes_into_service_and_its_configuration_is_swapped(
    platform_cluster: LocalCluster, client: httpx.Client, tmp_path: Path
) -> None:
    encoder = write_static_encoder(tmp_path / "encoder")
    build_index(TINY.documents, open_encoder(str(encoder)), tmp_path / "index")
    served = {"index": str(tmp_path / "index"), "encoder": str(encoder)}
    deploy(platform_cluster, tmp_path, {**served, "epoch": 1})
    first = search(client)
    assert {hit["id"] for hit in first["results"]} == {"d7", "d8"}
    assert (first["epoch"], first["route"]) == (1, "full rerank")
    running = replicas(platform_cluster)

    changed = RetrievalConfiguration(route=Route.FUSED)
    write_configuration(changed, tmp_path / "t1.json")
    served["configuration"] = str(tmp_path / "t1.json")
    require_index(deploy(platform_cluster, tmp_path, {**served, "epoch": 2}), platform_cluster.url)
    answer = search(client)
    assert (answer["epoch"], answer["route"], answer["configuration"]) == (2, "fused", changed.version)
    assert running <= replicas(platform_cluster)

    shutil.copytree(tmp_path / "index", tmp_path / "damaged")
    states = tmp_path / "damaged" / "tokens.values.npy"
    states.write_bytes(states.read_bytes()[:-1] + b"\x7f")
    damaged = deploy(platform_cluster, tmp_path, {**served, "index": str(tmp_path / "damaged"), "epoch": 3})
    with pytest.raises(UnavailableError, match=r"refuses.*tokens\.values\.npy.*epoch 2 answers on"):
        require_index(damaged, platform_cluster.url)
    assert search(client)["epoch"] == 2
    require_index(deploy(platform_cluster, tmp_path, {**served, "epoch": 4}), platform_cluster.url)
    assert search(client)["epoch"] == 4
    assert running <= replicas(platform_cluster)
