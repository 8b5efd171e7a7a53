from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from acgs.observability.metrics import CITATION_STATUSES, ERROR_TYPES, LATENCY_BUCKETS, GovernanceMetrics

LABEL = "cdd01ef066bc6cf2"

WORKER = """
import sys
from pathlib import Path
from acgs.observability.metrics import GovernanceMetrics, share_between_processes
share_between_processes(Path(sys.argv[1]))
metrics = GovernanceMetrics("cdd01ef066bc6cf2")
for number in range(int(sys.argv[2])):
    metrics.decided("general", "comply", confidence=0.9, seconds=0.0002, now=float(number), hit=False)
metrics.failed("audit", seconds=0.1, now=99.0)
if len(sys.argv) > 3:
    sys.stdout.buffer.write(metrics.exposition())
"""


def values(exposition: bytes) -> dict[str, float]:
    """Samples by name and labels."""
    return {
        sample.name + "".join(f"|{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> GovernanceMetrics:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    return GovernanceMetrics(LABEL)


def decided(
    metrics: GovernanceMetrics, result: str = "comply", *, seconds: float = 0.001, now: float = 0.0, hit: bool = False
) -> None:
    metrics.decided("general", result, confidence=0.9, seconds=seconds, now=now, hit=hit)


def test_any_process_answers_for_all_that_share_a_folder(tmp_path: Path) -> None:
    def run(*arguments: str) -> bytes:
        command = [sys.executable, "-c", WORKER, str(tmp_path / "shared"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout

    run("3")
    found = values(run("4", "print"))
    assert found["governance_requests_total|domain=general|result=comply"] == 7
    assert found["governance_errors_total|error_type=audit"] == 2
    assert found["governance_latency_seconds_count"] == 7
    assert found["governance_latency_seconds_bucket|le=0.00025"] == 7


def test_before_the_first_request_there_is_no_data_rather_than_a_good_figure(metrics: GovernanceMetrics) -> None:
    recent = metrics.recent()
    assert recent.p50_latency_ms is recent.p95_latency_ms is recent.p99_latency_ms is None
    assert recent.cache_hit_rate is recent.error_rate is recent.constitutional_compliance_rate is None
    assert recent.throughput_rps == 0.0


def test_errors_alone_give_an_error_rate_and_no_latency(metrics: GovernanceMetrics) -> None:
    metrics.failed("timeout", seconds=0.1, now=1.0)
    recent = metrics.recent()
    assert recent.error_rate == 1.0
    assert recent.p99_latency_ms is None
    assert recent.cache_hit_rate is None


def test_what_callers_do_wrong_is_counted_but_is_no_failure_of_the_service(metrics: GovernanceMetrics) -> None:
    for kind in ("validation", "not_json", "body_too_large", "rate_limit", "constitution_mismatch"):
        metrics.failed(kind, seconds=0.1, now=1.0)
    assert metrics.recent().error_rate is None
    assert b'governance_errors_total{error_type="validation"} 3.0' in metrics.exposition()


def test_rates_are_shares_of_what_they_speak_about(metrics: GovernanceMetrics) -> None:
    for number, (result, hit) in enumerate(
        [("comply", True), ("violate", False), ("comply", False), ("uncertain", False)]
    ):
        decided(metrics, result, now=float(number), hit=hit)
    metrics.failed("timeout", seconds=1.0, now=4.0)
    recent = metrics.recent()
    assert recent.cache_hit_rate == 0.25
    assert recent.constitutional_compliance_rate == 0.5
    assert recent.error_rate == 0.2
    assert recent.throughput_rps == 1.0


def test_percentiles_are_of_the_answered_requests_in_milliseconds(metrics: GovernanceMetrics) -> None:
    for number in range(1, 101):
        decided(metrics, seconds=number / 1000, now=float(number))
    metrics.failed("timeout", seconds=30.0, now=101.0)
    recent = metrics.recent()
    assert (recent.p50_latency_ms, recent.p95_latency_ms, recent.p99_latency_ms) == (51.0, 96.0, 100.0)


def test_only_recent_requests_count(metrics: GovernanceMetrics) -> None:
    metrics.failed("timeout", seconds=1.0, now=0.0)
    for number in range(5000):
        decided(metrics, now=float(number + 1))
    assert metrics.recent().error_rate == 0.0


def test_every_kind_of_error_is_there_from_the_start(metrics: GovernanceMetrics) -> None:
    found = values(metrics.exposition())
    assert {f"governance_errors_total|error_type={kind}" for kind in ERROR_TYPES} <= set(found)


def test_an_unknown_kind_of_error_counts_as_one_of_evaluation(metrics: GovernanceMetrics) -> None:
    metrics.failed("something new", seconds=0.1, now=1.0)
    found = values(metrics.exposition())
    assert found["governance_errors_total|error_type=evaluation"] == 1
    assert "something new" not in metrics.exposition().decode()


def test_citations_are_counted_by_status_from_the_first_scrape(metrics: GovernanceMetrics) -> None:
    metrics.cited("unavailable")
    found = values(metrics.exposition())
    counts = {status: found[f"governance_citations_total|status={status}"] for status in CITATION_STATUSES}
    assert counts == {"found": 0, "nothing_found": 0, "unavailable": 1}


def test_latency_is_counted_from_a_tenth_of_a_millisecond(metrics: GovernanceMetrics) -> None:
    assert LATENCY_BUCKETS[0] == 0.0001
    assert list(LATENCY_BUCKETS) == sorted(LATENCY_BUCKETS)
    decided(metrics, seconds=0.00009)
    decided(metrics, seconds=0.004)
    found = values(metrics.exposition())
    assert found["governance_latency_seconds_bucket|le=0.0001"] == 1
    assert found["governance_latency_seconds_bucket|le=0.005"] == 2


def test_hits_misses_fallbacks_and_the_constitution_are_exposed(metrics: GovernanceMetrics) -> None:
    decided(metrics, hit=True)
    decided(metrics, "violate")
    metrics.fell_back()
    found = values(metrics.exposition())
    assert found["governance_cache_hits_total"] == 1
    assert found["governance_cache_misses_total"] == 1
    assert found["governance_rule_fallbacks_total"] == 1
    assert found["governance_compliance_rate"] == 0.5
    assert found[f"governance_constitution_info|constitutional_hash={LABEL}"] == 1
