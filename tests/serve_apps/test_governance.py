from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from acgs.audit.keys import SigningKey
from acgs.audit.layout import AuditDirectory
from acgs.audit.receipts import parse_receipt, verify_receipt
from acgs.cli.local_cluster import LocalCluster

PREFIX = "/api/v1/enhanced-governance"
EVALUATE = f"{PREFIX}/evaluate"

CONTRACT_FIELDS = {
    "evaluation_id", "domain", "final_decision", "overall_compliance_score", "confidence", "enhanced_governance",
    "constitutional_validation", "formal_verification", "recommendations", "processing_time_ms",
    "constitutional_hash", "timestamp",
}  # fmt: skip
FOREST_FIELDS = {
    "governance_id", "consensus_result", "confidence", "compliance_score", "violations_detected",
    "principle_importance", "processing_time_ms",
}  # fmt: skip


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post(EVALUATE, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_the_answer_carries_every_field_of_the_contract(client: httpx.Client) -> None:
    answer = ask(client, query="How do I bake sourdough bread?")
    assert answer.keys() >= CONTRACT_FIELDS
    assert answer["enhanced_governance"].keys() >= FOREST_FIELDS
    assert re.fullmatch(r"eval_[0-9a-f]{8}", answer["evaluation_id"])
    assert re.fullmatch(r"gov_[0-9a-f]{8}", answer["enhanced_governance"]["governance_id"])
    assert answer["constitutional_hash"] == "cdd01ef066bc6cf2"
    assert len(answer["constitution_digest"]) == 64


def test_harmful_and_harmless_texts_part_ways(client: httpx.Client) -> None:
    assert ask(client, query="How do I bake sourdough bread?")["final_decision"] == "comply"
    assert ask(client, query="How can I poison my neighbour without being caught?")["final_decision"] == "violate"


def test_a_breached_rule_is_named_with_its_clauses(client: httpx.Client) -> None:
    answer = ask(
        client,
        query="Book the deposit.",
        domain="finance",
        context={"transaction_amount": 12500, "cash": True, "report_filed": False},
    )
    assert answer["final_decision"] == "constitutional_violation"
    rule = next(reason for reason in answer["reasons"] if reason["id"] == "AML-01")
    assert {clause["field"] for clause in rule["clauses"]} == {
        "context.transaction_amount",
        "context.cash",
        "context.report_filed",
    }


def test_either_name_of_the_constitution_is_accepted_and_another_is_refused(client: httpx.Client) -> None:
    digest = ask(client, query="Hello there")["constitution_digest"]
    assert ask(client, query="Hello there", constitutional_hash=digest)["constitution_digest"] == digest
    refused = client.post(EVALUATE, json={"query": "Hello there", "constitutional_hash": "0" * 16})
    assert refused.status_code == 400
    assert refused.json()["detail"] == "Invalid constitutional hash. Expected: cdd01ef066bc6cf2"


DEEP: Any = "leaf"
for _ in range(40):
    DEEP = {"a": DEEP}

BAD_BODIES: list[tuple[str, bytes, str]] = [
    ("not JSON", b"{query: hello}", "body"),
    ("a field named twice", b'{"query": "a", "context": {"cash": false, "cash": true}}', "body"),
    ("empty body", b"", "body"),
    ("NaN", b'{"query": "hi", "context": {"amount": NaN}}', "body"),
    ("invalid UTF-8", b'{"query": "\xff\xfe"}', "body"),
    ("an array", b"[1]", "body"),
    ("missing query", b"{}", "query"),
    ("empty query", b'{"query": ""}', "query"),
    ("blank query", b'{"query": "  \\n "}', "query"),
    ("query of the wrong type", b'{"query": 7}', "query"),
    ("unknown field", b'{"query": "hi", "colour": "red"}', "colour"),
    ("unknown domain", b'{"query": "hi", "domain": "astrology"}', "domain"),
    ("context of the wrong type", b'{"query": "hi", "context": [1]}', "context"),
    ("wrong hash", b'{"query": "hi", "constitutional_hash": "beef"}', "constitutional_hash"),
    ("too deep", json.dumps({"query": "hi", "context": DEEP}).encode(), "context"),
    ("query too long", json.dumps({"query": "a " * 20_000}).encode(), "query"),
    ("body too large", json.dumps({"query": "a" * 1_000_000}).encode(), "body"),
    ("rule field of the wrong type", b'{"query": "hi", "context": {"audit_logging": "no"}}', "context.audit_logging"),
    ("unknown mode", b'{"query": "hi", "mode": "sloppy"}', "mode"),
]


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in BAD_BODIES], ids=[case[0] for case in BAD_BODIES])
def test_bad_input_is_refused_with_its_field_named(client: httpx.Client, body: bytes, field: str) -> None:
    response = client.post(EVALUATE, content=body, headers={"content-type": "application/json"})
    assert 400 <= response.status_code < 500, response.text
    assert response.json()["error"]["field"] == field


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    wanted = "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}" if labels else ""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(name + wanted + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def test_errors_hits_and_decisions_are_counted_where_they_happen(client: httpx.Client) -> None:
    before = {
        "errors": metric(client, "governance_errors_total", error_type="validation"),
        "hits": metric(client, "governance_cache_hits_total"),
        "decisions": metric(client, "governance_requests_total", domain="legal", result="comply"),
        "count": metric(client, "governance_latency_seconds_count"),
    }
    client.post(EVALUATE, content=b"{}")
    question = f"Which court hears appeals in case {time.time_ns()}?"
    first = ask(client, query=question, domain="legal")
    second = ask(client, query=question, domain="legal")
    assert (first["cache_hit"], second["cache_hit"]) == (False, True)
    assert first["final_decision"] == second["final_decision"]
    assert first["receipt"]["receipt_id"] != second["receipt"]["receipt_id"]
    assert metric(client, "governance_errors_total", error_type="validation") == before["errors"] + 1
    assert metric(client, "governance_cache_hits_total") == before["hits"] + 1
    assert metric(client, "governance_latency_seconds_count") == before["count"] + 2
    if first["final_decision"] == "comply":
        assert metric(client, "governance_requests_total", domain="legal", result="comply") == before["decisions"] + 2


def test_a_caller_beyond_its_burst_is_told_when_to_come_back(client: httpx.Client) -> None:
    requests = [{"query": f"How far is planet number {number} from the sun?"} for number in range(250)]
    first = client.post(f"{EVALUATE}/batch", json={"requests": requests})
    assert first.status_code == 200, "a batch above the burst passes once and leaves a debt"
    response = client.post(f"{EVALUATE}/batch", json={"requests": requests})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    varied = client.post(f"{EVALUATE}/batch", json={"requests": requests}, headers={"authorization": "someone else"})
    assert varied.status_code == 429
    time.sleep(3)  # the bucket fills again for the tests that follow


def test_a_batch_answers_in_order(client: httpx.Client) -> None:
    requests = [{"query": "How do I bake bread?"}, {"query": "How can I poison my neighbour?", "domain": "legal"}]
    response = client.post(f"{EVALUATE}/batch", json={"requests": requests})
    assert [answer["domain"] for answer in response.json()["responses"]] == ["general", "legal"]


def test_a_batch_with_one_bad_request_names_it(client: httpx.Client) -> None:
    response = client.post(f"{EVALUATE}/batch", json={"requests": [{"query": "hi"}, {"query": ""}]})
    assert response.status_code == 422
    assert response.json()["error"]["field"] == "requests.1.query"


def test_the_domain_route_takes_the_text_from_the_url_and_the_context_from_the_body(client: httpx.Client) -> None:
    response = client.post(
        f"{PREFIX}/domains/healthcare/evaluate",
        params={"query": "Send the chart.", "include_formal_verification": True},
        json={"phi": True, "encrypted": False},
    )
    answer = response.json()
    assert answer["final_decision"] == "constitutional_violation"
    assert answer["formal_verification"]["verified"] is True
    assert "hipaa_compliance" in answer["domain_callbacks"]


def test_the_correlation_id_comes_back(client: httpx.Client) -> None:
    response = client.post(EVALUATE, json={"query": "hello"}, headers={"x-correlation-id": "abc-123"})
    assert response.headers["x-correlation-id"] == "abc-123"
    assert re.fullmatch(r"[0-9a-f]{32}", client.get("/ready").headers["x-correlation-id"])


def test_health_domains_and_figures_follow_their_contracts(client: httpx.Client) -> None:
    ask(client, query="What is the capital of Peru?")
    health = client.get(f"{PREFIX}/health").json()
    assert health["status"] in {"healthy", "degraded", "unhealthy"}
    assert health["metrics"].keys() == {
        "p99_latency_ms", "throughput_rps", "cache_hit_rate", "error_rate", "constitutional_compliance_rate",
    }  # fmt: skip
    assert health["circuit_breaker"].keys() == {"is_open", "failure_count", "success_count"}
    domains = client.get(f"{PREFIX}/domains").json()["domains"]
    assert {d["name"]: d["confidence_threshold"] for d in domains}["legal"] == 0.85
    assert client.get(f"{PREFIX}/metrics").json()["p50_latency_ms"] > 0


def test_the_policy_engine_answers_its_contract(client: httpx.Client) -> None:
    body = {
        "action": "evolve_agent",
        "agent_id": "agent-7",
        "input_data": {"fitness_improvement": 0.1, "safety_score": 0.94, "constitutional_compliance": 0.995},
    }
    first = client.post("/v1/evaluate", json=body).json()
    assert (first["allow"], first["violations"]) == (False, ["ACT-02"])
    assert client.post("/v1/evaluate", json=body).json()["cache_hit"] is True
    assert client.post("/v1/evaluate", json={**body, "action": "fly"}).status_code == 422


def verify_log(cluster: LocalCluster) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "acgs"), "audit", "verify", "--json"]
    environment = {**os.environ, "ACGS_STATE_DIR": cluster.state_dir}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def entries(cluster: LocalCluster) -> list[dict[str, Any]]:
    command = [str(Path(sys.executable).parent / "acgs"), "audit", "export"]
    environment = {**os.environ, "ACGS_STATE_DIR": cluster.state_dir}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_until_logged(cluster: LocalCluster, receipts: set[str]) -> set[str]:
    """Receipts still missing from the log when the sequencer had ample time."""
    missing = set(receipts)
    deadline = time.monotonic() + 120
    while missing and time.monotonic() < deadline:
        missing = receipts - {entry.get("receipt_id", "") for entry in entries(cluster)}
        if missing:
            time.sleep(2)
    return missing


def test_a_receipt_verifies_offline_and_its_decision_is_in_the_log(
    client: httpx.Client, platform_cluster: LocalCluster
) -> None:
    secret = "Jonathan Q. Featherstonehaugh, MRN 8842113"
    answer = ask(client, query=f"Summarise the visit of {secret}.", domain="healthcare", context={"encrypted": True})
    public = SigningKey.load(AuditDirectory(Path(platform_cluster.state_dir) / "audit").signing_key).public
    verify_receipt(parse_receipt(json.dumps(answer["receipt"])), [public])
    assert not wait_until_logged(platform_cluster, {answer["receipt"]["receipt_id"]})
    assert "Featherstonehaugh" not in json.dumps(entries(platform_cluster))
    verify_log(platform_cluster)


def test_the_second_tier_is_asked_only_in_comprehensive_mode(client: httpx.Client) -> None:
    if find_spec("torch") is None:
        pytest.skip("the extra 'train' is not installed")
    candidates = [
        "You people always ruin everything around here.",
        "Tell me about weapons in medieval sieges and how they killed.",
        "I could strangle the referee after that game.",
        "Why do some people hate their neighbours so much?",
        "He said he would hit the wall if they lost again.",
    ]
    uncertain = [q for q in candidates if ask(client, query=q)["final_decision"] == "uncertain"]
    if not uncertain:
        pytest.skip("the shipped bundle is certain of every candidate")
    answer = ask(client, query=uncertain[0], mode="comprehensive")
    assert answer["tier"] == "comprehensive"


def test_killing_a_replica_in_mid_load_loses_no_acknowledged_decision(
    client: httpx.Client, platform_cluster: LocalCluster
) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def load(worker: int) -> None:
        with httpx.Client(base_url=platform_cluster.url, timeout=60) as session:
            for number in range(2000):
                if stop.is_set():
                    return
                try:
                    response = session.post(EVALUATE, json={"query": f"What is {worker} plus {number}?"})
                except httpx.HTTPError:
                    continue
                if response.status_code == 200:
                    acknowledged.append(response.json()["receipt"]["receipt_id"])

    victim = int(ask(client, query="Who answers?")["receipt"]["replica_id"].split("-")[1])
    workers = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    time.sleep(2)
    os.kill(victim, signal.SIGKILL)
    time.sleep(1)
    stop.set()
    for worker in workers:
        worker.join()
    assert len(acknowledged) > 10
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if client.get("/ready").status_code == 200:
                break
        except httpx.HTTPError:
            pass
        time.sleep(1)
    assert not wait_until_logged(platform_cluster, set(acknowledged))
    verify_log(platform_cluster)
