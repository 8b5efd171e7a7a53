"""Requests and answers as they cross the HTTP boundary. Names of the published contract are kept; ours are added."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from acgs.governance.citations import MOST_CITATIONS, Citations

Mode = Literal["basic", "production", "comprehensive", "audit"]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GovernanceRequest(_Schema):
    """One text with its context, to be judged."""

    query: Annotated[str, Field(min_length=1)]
    domain: str = "general"
    context: dict[str, Any] | None = None
    include_formal_verification: bool = False
    constitutional_hash: str = "cdd01ef066bc6cf2"
    mode: Mode | None = Field(None, description="'comprehensive' asks the second tier where the first is uncertain")
    citations: int = Field(
        0,
        ge=0,
        le=MOST_CITATIONS,
        description="passages of the retrieval application's corpus to cite beside the decision",
    )


class BatchRequest(_Schema):
    """Several requests, judged in order."""

    requests: Annotated[list[GovernanceRequest], Field(min_length=1)]


class EnhancedGovernance(_Schema):
    """The forest's part of the answer."""

    governance_id: str
    consensus_result: str
    confidence: float
    compliance_score: float
    violations_detected: list[str]
    principle_importance: dict[str, float]
    processing_time_ms: float
    violation_probability: float
    agreement: float
    agreement_lower_bound: float
    helpful_principles: list[str]
    harmful_principles: list[str]
    smallest_flip: dict[str, Any] | None
    flagged_trees: list[str]


class Reason(_Schema):
    """One reason for the decision: a breached rule, a domain requirement, or a principle's score."""

    kind: Literal["rule", "domain", "principle"]
    id: str
    principle: str | None = None
    severity: str | None = None
    message: str
    clauses: list[dict[str, Any]] = []


class GovernanceResponse(_Schema):
    """The governed decision."""

    evaluation_id: str
    domain: str
    final_decision: Literal["comply", "violate", "uncertain", "constitutional_violation", "formal_verification_failed"]
    overall_compliance_score: float
    confidence: float
    enhanced_governance: EnhancedGovernance
    constitutional_validation: dict[str, Any] | None
    formal_verification: dict[str, Any] | None
    recommendations: list[str]
    processing_time_ms: float
    constitutional_hash: str
    timestamp: str
    constitution_digest: str
    bundle_version: str
    tier: Literal["inline", "comprehensive"]
    reasons: list[Reason]
    domain_callbacks: dict[str, Any]
    cache_hit: bool
    receipt: dict[str, Any]
    receipt_nonce: str = Field(
        description="hex; SHA-256 of nonce and canonical request is the receipt's request_digest"
    )
    audit_leaf: str
    citations: Citations | None = Field(None, description="present only where the request asks for citations")


class BatchResponse(_Schema):
    """Answers in the order of the requests."""

    responses: list[GovernanceResponse]


class HealthMetrics(_Schema):
    """Figures of the answering replica; null where there is no data yet."""

    p99_latency_ms: float | None
    throughput_rps: float
    cache_hit_rate: float | None
    error_rate: float | None
    constitutional_compliance_rate: float | None


class CircuitBreakerHealth(_Schema):
    """State of the rule engine's circuit breaker."""

    is_open: bool
    failure_count: int
    success_count: int


class HealthTargets(_Schema):
    """What the deployment aims at."""

    p99_latency_ms: float
    throughput_rps: float
    cache_hit_rate: float
    error_rate: float
    constitutional_compliance_rate: float


class HealthResponse(_Schema):
    """Whether the service meets its targets."""

    status: Literal["healthy", "degraded", "unhealthy", "critical"]
    timestamp: str
    metrics: HealthMetrics
    targets: HealthTargets
    circuit_breaker: CircuitBreakerHealth
    issues: list[str]
    constitutional_hash: str
    constitution_digest: str
    bundle_version: str


class MetricsResponse(_Schema):
    """Figures as JSON; Prometheus text is at `/metrics`."""

    p99_latency_ms: float | None
    p95_latency_ms: float | None
    p50_latency_ms: float | None
    throughput_rps: float
    cache_hit_rate: float | None
    error_rate: float | None
    constitutional_compliance_rate: float | None
    timestamp: str
    constitutional_hash: str


class DomainInfo(_Schema):
    """A domain one may ask about."""

    name: str
    description: str
    confidence_threshold: float


class DomainsResponse(_Schema):
    """All domains."""

    domains: list[DomainInfo]
    constitutional_hash: str
