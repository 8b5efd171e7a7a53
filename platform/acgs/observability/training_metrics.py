"""Metrics of the training service in Prometheus form. All carry the label of the constitution in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

DURATION_BUCKETS: Final = (30, 60, 300, 600, 1800, 3600, 7200)
"""Seconds."""
SCORE_BUCKETS: Final = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
_HASH: Final = "constitutional_hash"
_SESSION: Final = ("model_id", "training_session", _HASH)


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """What a running session says of itself; None means not measured."""

    session_id: str
    model_id: str
    compliance: float | None
    epsilon: float | None
    target_epsilon: float | None


class TrainingMetrics:
    """Counts what happens to training requests and sessions, where it happens."""

    def __init__(self, constitutional_hash: str, version: str) -> None:
        registry = self._registry = CollectorRegistry()
        self._hash = constitutional_hash
        self._requests = Counter(
            "constitutional_training_requests_total",
            "Training requests by outcome",
            ["model_type", "status", _HASH],
            registry=registry,
        )
        self._sessions = Counter(
            "constitutional_training_sessions_total",
            "Sessions that ended, by how",
            ["status", "model_type", _HASH],
            registry=registry,
        )
        self._duration = Histogram(
            "constitutional_training_duration_seconds",
            "From the start of a session to its end",
            ["model_type", "training_phase", _HASH],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self._score = Histogram(
            "constitutional_compliance_score",
            "Compliance of finished sessions",
            ["model_id", "evaluation_type", _HASH],
            buckets=SCORE_BUCKETS,
            registry=registry,
        )
        self._violations = Counter(
            "constitutional_violations_total",
            "Answers of trained models that breach a principle, judged at the end of a session",
            ["violation_type", "severity", "model_id", _HASH],
            registry=registry,
        )
        self._perplexity = Gauge(
            "constitutional_model_perplexity",
            "Perplexity of the model that a session trained last",
            ["model_id", "dataset", _HASH],
            registry=registry,
        )
        self._active = Gauge(
            "constitutional_training_sessions_active", "Sessions that hold a place", [_HASH], registry=registry
        )
        self._waiting = Gauge(
            "constitutional_training_sessions_queued", "Sessions that wait for a place", [_HASH], registry=registry
        )
        self._health = Gauge(
            "constitutional_trainer_health_score", "1 if the part works", ["component", _HASH], registry=registry
        )
        self._current_score = Gauge(
            "constitutional_compliance_score_current", "Compliance of a running session", _SESSION, registry=registry
        )
        self._epsilon = Gauge(
            "constitutional_privacy_epsilon_current", "Epsilon that a running session has spent", _SESSION,
            registry=registry,
        )  # fmt: skip
        self._budget = Gauge(
            "constitutional_privacy_budget_utilization", "Share of its target that a running session has spent",
            _SESSION, registry=registry,
        )  # fmt: skip
        info = Info("constitutional_trainer", "The training service", registry=registry)
        info.info({"version": version, _HASH: constitutional_hash})
        self._active.labels(constitutional_hash)
        self._waiting.labels(constitutional_hash)

    def requested(self, model_type: str, status: str) -> None:
        """Count a request by what became of it: `accepted`, or the code of its error."""
        self._requests.labels(model_type, status, self._hash).inc()

    def ended(self, status: str, model_type: str, model_id: str, *, seconds: float, compliance: float | None) -> None:
        """Count the end of a session that ran for `seconds`."""
        self._sessions.labels(status, model_type, self._hash).inc()
        self._duration.labels(model_type, "total", self._hash).observe(seconds)
        if compliance is not None:
            self._score.labels(model_id, "training", self._hash).observe(compliance)

    def measured(self, model_id: str, breaches: Mapping[str, tuple[int, str]], perplexity: float | None) -> None:
        """Count what a finished session's model was found to do: breaches by principle, each with its severity."""
        for principle, (count, severity) in breaches.items():
            self._violations.labels(principle, severity, model_id, self._hash).inc(count)
        if perplexity is not None:
            self._perplexity.labels(model_id, "validation", self._hash).set(perplexity)

    def healthy(self, component: str, *, works: bool) -> None:
        """Say whether a part of the service works."""
        self._health.labels(component, self._hash).set(float(works))

    def now(self, running: Iterable[SessionFigures], queued: int) -> None:
        """Show what runs now. Series of sessions that no longer run disappear."""
        for gauge in (self._current_score, self._epsilon, self._budget):
            gauge.clear()
        count = 0
        for session in running:
            count += 1
            labels = (session.model_id, session.session_id, self._hash)
            if session.compliance is not None:
                self._current_score.labels(*labels).set(session.compliance)
            if session.epsilon is not None:
                self._epsilon.labels(*labels).set(session.epsilon)
                if session.target_epsilon is not None:
                    self._budget.labels(*labels).set(session.epsilon / session.target_epsilon)
        self._active.labels(self._hash).set(count)
        self._waiting.labels(self._hash).set(queued)

    def exposition(self) -> bytes:
        """Prometheus text of this process."""
        return generate_latest(self._registry)
