"""Metrics of the models application in Prometheus form, of one router replica.

Labels are bounded: models of the routing table, slots, outcomes, and the versions that are in a slot now.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from acgs.registry.semver import parse
from acgs.serving.routing import RoutingTable, Slot

LATENCY_BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Seconds; edges at the 15 ms and 40 ms goals."""
ANSWERED: Final = "answered"
OUTCOMES: Final = frozenset({
    ANSWERED, "validation", "not_json", "body_too_large", "constitution_mismatch", "not_found", "rate_limit",
    "model_failed", "unavailable",
})  # fmt: skip
UNKNOWN: Final = "unknown"
NO_SLOT: Final = "none"


class ModelMetrics:
    """Counts what happens to requests."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "acgs_model_requests_total", "Requests by outcome", ["model", "slot", "outcome"], registry=registry
        )
        self._latency = Histogram(
            "acgs_model_latency_seconds", "From the router to the slot and back", ["model", "slot", "version"],
            buckets=LATENCY_BUCKETS, registry=registry,
        )  # fmt: skip
        self._epoch = Gauge("acgs_model_routing_epoch", "Epoch of the table in force", registry=registry)
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        """By model, slot and version: looking them up by their labels costs more than to count."""
        self._models: frozenset[str] = frozenset()

    def answered(self, model: str, slot: Slot, version: str, seconds: float) -> None:
        """Count an answer."""
        labels = (model, slot.value, _label(version))
        series = self._series.get(labels)
        if series is None:
            series = self._requests.labels(model, slot.value, ANSWERED), self._latency.labels(*labels)
            self._series[labels] = series
        answers, latency = series
        answers.inc()
        latency.observe(seconds)

    def refused(self, model: str, code: str) -> None:
        """Count a request without an answer by the code of its error."""
        known = model if model in self._models else UNKNOWN
        self._requests.labels(known, NO_SLOT, code if code in OUTCOMES else "error").inc()

    def follow(self, table: RoutingTable) -> None:
        """Show the epoch, and drop the series of versions that left their slot."""
        self._epoch.set(table.epoch)
        self._models = frozenset(table.models)
        wanted = {
            (name, slot.value, _label(version)) for slot in Slot for name, version in table.wanted_in(slot).items()
        }
        # A copy: answers are counted in another thread meanwhile.
        for labels in set(self._series) - wanted:
            self._latency.remove(*labels)
            # Last: what is counted in between must not keep the series that is gone.
            del self._series[labels]

    def exposition(self) -> bytes:
        """Prometheus text of this process."""
        return generate_latest(self._registry)


@lru_cache(maxsize=1024)
def _label(version: str) -> str:
    """A version without pre-release and build: candidates of one release share a series."""
    return str(parse(version).finalize_version())
