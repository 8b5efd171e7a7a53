"""Citations on the platform's cluster: governance asks the retrieval application over its handle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from acgs.audit.keys import SigningKey
from acgs.audit.layout import AuditDirectory
from acgs.audit.receipts import Receipt, verify_receipt
from acgs.cli.local_cluster import LocalCluster
from acgs.retrieval.encoders import open_encoder
from acgs.retrieval.index import build_index
from tests.acgs.retrieval.corpora import TINY, write_static_encoder
from tests.serve_apps.test_governance import EVALUATE, PREFIX, ask, metric, wait_until_logged
from tests.serve_apps.test_retrieval_cluster import SWAP_SECONDS, deploy

QUERY = "Which bridge did the river flood?"


def cite_until(client: httpx.Client, status: str) -> dict[str, Any]:
    """Citations of a decision, asked for until they have the status: a replica starts only when it is asked."""
    deadline = time.monotonic() + SWAP_SECONDS
    while True:
        answer = ask(client, query=QUERY, citations=2)
        citations: dict[str, Any] = answer["citations"]
        if citations["status"] == status or time.monotonic() > deadline:
            assert citations["status"] == status, citations
            return citations
        assert citations["reason"]
        time.sleep(0.5)


def test_a_decision_cites_passages_and_says_when_it_cannot(
    platform_cluster: LocalCluster, client: httpx.Client, tmp_path: Path
) -> None:
    deploy(platform_cluster, tmp_path, {"index": None})
    started = time.monotonic()
    assert cite_until(client, "unavailable").keys() == {"status", "reason"}
    assert time.monotonic() - started < 30

    encoder = write_static_encoder(tmp_path / "encoder")
    build_index(TINY.documents, open_encoder(str(encoder)), tmp_path / "index")
    deploy(platform_cluster, tmp_path, {"index": str(tmp_path / "index"), "encoder": str(encoder), "epoch": 7})
    before = metric(client, "governance_citations_total", status="found")
    found = cite_until(client, "found")
    assert {passage["id"] for passage in found["passages"]} == {"d7", "d8"}
    assert found["epoch"] == 7
    assert metric(client, "governance_citations_total", status="found") == before + 1

    receipt = Receipt.model_validate(found["receipt"])
    public = SigningKey.load(AuditDirectory(Path(platform_cluster.state_dir) / "audit").signing_key).public
    verify_receipt(receipt, [public])
    assert (receipt.model_version, receipt.bundle_version) == (found["index"], found["configuration"])

    batch = client.post(f"{EVALUATE}/batch", json={"requests": [{"query": QUERY}, {"query": QUERY, "citations": 1}]})
    plain, cited = batch.json()["responses"]
    assert "citations" not in plain
    assert plain["final_decision"] == cited["final_decision"]
    assert len(cited["citations"]["passages"]) == 1
    by_domain = client.post(f"{PREFIX}/domains/legal/evaluate", params={"query": QUERY, "citations": 1})
    assert by_domain.json()["citations"]["status"] == "found"
    refused = client.post(EVALUATE, json={"query": QUERY, "citations": 1, "constitutional_hash": "0" * 16})
    assert refused.status_code == 400
    searches = {item["citations"]["receipt"]["receipt_id"] for item in (cited, by_domain.json())}
    assert not wait_until_logged(platform_cluster, searches | {receipt.receipt_id})
