"""Governance metrics in Prometheus form, and the window of recent requests behind the JSON figures.

Replicas of a node share their values through memory-mapped files, so that a scrape of any one counts them all.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

LATENCY_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""Seconds, from 0.1 ms; edges at the 5 ms and 40 ms goals."""

ERROR_TYPES = (
    "initialization", "tree_generation", "evaluation", "tree_evaluation", "timeout", "oob_check",
    "importance_analysis", "domain_callback", "rate_limit", "validation", "constitution_mismatch", "audit",
    "unavailable",
)  # fmt: skip

CLIENT_ERRORS = frozenset({"validation", "constitution_mismatch", "rate_limit"})
"""Refusals that the caller can mend."""

CITATION_STATUSES = ("found", "nothing_found", "unavailable")

_MALFORMED = frozenset({"not_json", "body_too_large"})

_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class Recent:
    """Figures over the recent requests of one replica; percentiles are None before the first request."""

    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    throughput_rps: float
    cache_hit_rate: float | None
    error_rate: float | None
    constitutional_compliance_rate: float | None


def share_between_processes(directory: Path) -> None:
    """Keep this process's values in `directory`, so that any replica of the node can answer for all of them.

    Must be called before the first metric is made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue()


class GovernanceMetrics:
    """Counts what happens, where it happens."""

    def __init__(self, constitutional_hash: str) -> None:
        registry = self._registry = CollectorRegistry()
        self._latency = Histogram(
            "governance_latency_seconds", "Time from request to answer", buckets=LATENCY_BUCKETS, registry=registry
        )
        self._requests = Counter("governance_requests_total", "Decisions", ["domain", "result"], registry=registry)
        self._errors = Counter("governance_errors_total", "Errors", ["error_type"], registry=registry)
        self._confidence = Gauge(
            "governance_confidence", "Latest confidence", registry=registry, multiprocess_mode="mostrecent"
        )
        self._compliance = Gauge(
            "governance_compliance_rate",
            "Share of a replica's recent decisions that comply; the latest replica to be read",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._hits = Counter("governance_cache_hits_total", "Cache hits", registry=registry)
        self._misses = Counter("governance_cache_misses_total", "Cache misses", registry=registry)
        self._fallbacks = Counter("governance_rule_fallbacks_total", "Rulings by the local fallback", registry=registry)
        self._citations = Counter(
            "governance_citations_total", "Decisions asked to cite passages", ["status"], registry=registry
        )
        in_force = Gauge(
            "governance_constitution_info",
            "The constitution in force",
            ["constitutional_hash"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        in_force.labels(constitutional_hash).set(1)
        for error_type in ERROR_TYPES:
            self._errors.labels(error_type)
        for status in CITATION_STATUSES:
            self._citations.labels(status)
        self._window: deque[tuple[float, float, bool, bool | None, bool]] = deque(maxlen=_WINDOW)

    def decided(self, domain: str, result: str, *, confidence: float, seconds: float, now: float, hit: bool) -> None:
        """Count one decision. `seconds` is measured around the whole handling, `now` is monotonic."""
        self._requests.labels(domain, result).inc()
        self._latency.observe(seconds)
        self._confidence.set(confidence)
        (self._hits if hit else self._misses).inc()
        self._window.append((now, seconds, hit, result == "comply", False))

    def failed(self, error_type: str, *, seconds: float, now: float) -> None:
        """Count one request that got no decision."""
        known = "validation" if error_type in _MALFORMED else error_type
        known = known if known in ERROR_TYPES else "evaluation"
        self._errors.labels(known).inc()
        # What a caller did wrong is no failure of the service: it must not turn its health.
        if known not in CLIENT_ERRORS:
            self._window.append((now, seconds, False, None, True))

    def fell_back(self) -> None:
        """Count a ruling by the fallback."""
        self._fallbacks.inc()

    def cited(self, status: str) -> None:
        """Count a search for citations by one of `CITATION_STATUSES`."""
        self._citations.labels(status).inc()

    def recent(self) -> Recent:
        """Figures over at most the last 4,096 requests. No data is None, never a pass."""
        rows = list(self._window)
        if not rows:
            return Recent(None, None, None, 0.0, None, None, None)
        answered = sorted(row[1] for row in rows if not row[4])
        decisions = [row for row in rows if row[3] is not None]
        span = rows[-1][0] - rows[0][0]

        def percentile(share: float) -> float | None:
            return round(answered[min(len(answered) - 1, int(share * len(answered)))] * 1000, 4) if answered else None

        def rate(count: int, of: int) -> float | None:
            return count / of if of else None

        return Recent(
            p50_latency_ms=percentile(0.50),
            p95_latency_ms=percentile(0.95),
            p99_latency_ms=percentile(0.99),
            throughput_rps=round((len(rows) - 1) / span, 3) if span > 0 else 0.0,
            cache_hit_rate=rate(sum(row[2] for row in decisions), len(decisions)),
            error_rate=rate(sum(row[4] for row in rows), len(rows)),
            constitutional_compliance_rate=rate(sum(bool(row[3]) for row in decisions), len(decisions)),
        )

    def exposition(self) -> bytes:
        """Prometheus text: of all processes that share their values, else of this one."""
        compliance = self.recent().constitutional_compliance_rate
        if compliance is not None:
            self._compliance.set(compliance)
        directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if directory is None:
            return generate_latest(self._registry)
        merged = CollectorRegistry()
        MultiProcessCollector(merged, path=directory)
        return generate_latest(merged)
