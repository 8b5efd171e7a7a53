"""What one governance replica holds, opened from settings; separate from the routes so that tests need no Ray."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acgs.audit.entries import Event
from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.journal import Journal
from acgs.audit.recorder import AuditRecorder
from acgs.constitution.lock import LockedConstitution
from acgs.errors import AcgsError, UnavailableError
from acgs.governance.assembly import open_governor
from acgs.governance.service import HIT_COST, GovernanceService
from acgs.observability.logs import configure_logs
from acgs.observability.metrics import GovernanceMetrics, Recent, share_between_processes
from acgs.policy.breaker import BreakerState
from acgs.policy.cache import open_cache
from acgs.policy.contract import EvaluateRequest, EvaluateResponse, PolicyService
from acgs.policy.judge import open_engine
from acgs.security.rate_limit import TokenBuckets
from acgs.settings import Settings

METRICS_FOLDER = "metrics"

RemoteLogits = Callable[[list[str]], Awaitable[NDArray[np.float32]]]


@dataclass(slots=True)
class GovernanceReplica:
    """Everything a replica answers with."""

    settings: Settings
    constitution: LockedConstitution
    service: GovernanceService
    policy: PolicyService
    metrics: GovernanceMetrics
    limiter: TokenBuckets
    recorder: AuditRecorder

    async def evaluate_action(self, request: EvaluateRequest, caller: str) -> EvaluateResponse:
        """Judge an act by the rules and put the answer on record."""
        answer = await self.policy.evaluate(request)
        self.limiter.spend(caller, HIT_COST if answer.cache_hit else 1)
        details = {
            "action": request.action,
            "allow": answer.allow,
            "rules": answer.violations,
            "policy_version": answer.policy_version,
        }
        self.recorder.record_event(
            Event(kind="policy_evaluation", actor="policy-engine", subject=request.action, details=details)
        )
        return answer

    def health(self) -> dict[str, Any]:
        """The health answer: targets missed are issues, and no traffic is no issue."""
        recent = self.metrics.recent()
        breaker = self.service.governor.judge.breaker
        issues = _issues(recent, self.settings)
        is_open = breaker.state is not BreakerState.CLOSED
        if is_open:
            issues.append("the rule engine's circuit is open; the local fallback judges")
        status = "healthy" if not issues else "degraded"
        if recent.error_rate is not None and recent.error_rate > self.settings.error_rate_target * 10:
            status = "unhealthy"
        return {
            "status": status,
            "timestamp": _now(),
            "metrics": {
                name: value
                for name, value in asdict(recent).items()
                if name not in ("p50_latency_ms", "p95_latency_ms")
            },
            "targets": {
                "p99_latency_ms": self.settings.p99_target_ms,
                "throughput_rps": self.settings.throughput_target,
                "cache_hit_rate": self.settings.cache_hit_target,
                "error_rate": self.settings.error_rate_target,
                "constitutional_compliance_rate": self.settings.compliance_target,
            },
            "circuit_breaker": {
                "is_open": is_open,
                "failure_count": breaker.failure_count,
                "success_count": breaker.success_count,
            },
            "issues": issues,
            "constitutional_hash": self.constitution.label,
            "constitution_digest": self.constitution.digest,
            "bundle_version": self.service.governor.bundle.version,
        }

    def figures(self) -> dict[str, Any]:
        """The JSON metrics answer."""
        return {**asdict(self.metrics.recent()), "timestamp": _now(), "constitutional_hash": self.constitution.label}

    def domains(self) -> dict[str, Any]:
        """The domains answer."""
        profiles = self.constitution.document.domains
        thresholds = self.service.governor.bundle.thresholds
        return {
            "domains": [
                {
                    "name": name,
                    "description": profile.description,
                    "confidence_threshold": thresholds[name].confidence,
                }
                for name, profile in profiles.items()
            ],
            "constitutional_hash": self.constitution.label,
        }

    def close(self) -> None:
        """Flush the journal."""
        self.recorder.close()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _issues(recent: Recent, settings: Settings) -> list[str]:
    """Targets that the service missed. Throughput, hits and compliance are up to what callers send."""
    issues = []
    if recent.p99_latency_ms is not None and recent.p99_latency_ms > settings.p99_target_ms:
        issues.append(f"p99 latency {recent.p99_latency_ms:.1f} ms is above {settings.p99_target_ms} ms")
    if recent.error_rate is not None and recent.error_rate > settings.error_rate_target:
        issues.append(f"error rate {recent.error_rate:.3f} is above {settings.error_rate_target}")
    return issues


async def _persistently(
    remote_logits: RemoteLogits | None, texts: list[str], settings: Settings
) -> NDArray[np.float32]:
    """Ask the second tier, again where it failed, within one time limit.

    Raises:
        UnavailableError: it did not answer; the message says why.
    """
    if remote_logits is None:
        raise UnavailableError("no second tier is deployed")
    reason = ""
    try:
        async with asyncio.timeout(settings.timeout_seconds):
            for _ in range(settings.max_retries):
                try:
                    return await remote_logits(texts)
                except Exception as error:  # noqa: BLE001 - whatever a remote call raises, the tier did not answer
                    cause = getattr(error, "cause", error)
                    reason = cause.message if isinstance(cause, AcgsError) else type(cause).__name__
                    if isinstance(cause, UnavailableError):
                        break  # it answered, and cannot score
    except TimeoutError:
        reason = f"no answer in {settings.timeout_seconds:g} s"
    raise UnavailableError(reason)


def open_replica(environment: Mapping[str, str], remote_logits: RemoteLogits | None) -> GovernanceReplica:
    """Open everything, or raise the error that says what is missing."""
    settings = Settings()
    configure_logs(settings.log_level)
    state = settings.state_dir.resolve()
    if settings.enable_prometheus_metrics:
        share_between_processes(state / METRICS_FOLDER)
    governor = open_governor(settings)
    constitution = governor.constitution
    identity = environment.get("ACGS_REPLICA_ID") or f"replica-{os.getpid()}-{secrets.token_hex(4)}"
    key = signing_key(settings)
    layout = audit_directory(settings)
    recorder = AuditRecorder(Journal(layout.journals, identity, durability=settings.audit_durability), key, identity)
    recorder.record_event(
        Event(
            kind="constitution_loaded",
            actor=identity,
            subject=constitution.digest,
            details={"label": constitution.label, "bundle_version": governor.bundle.version},
        )
    )
    url = settings.redis_url.get_secret_value() if settings.redis_url else None
    cache = open_cache(url, max_entries=settings.cache_size)
    metrics = GovernanceMetrics(constitution.label)
    limiter = TokenBuckets(rate=settings.rate_limit_requests_per_second, burst=settings.rate_limit_burst_capacity)
    second = "clauses" if settings.rule_engine == "cedar" or constitution.document.rego else "cedar"

    async def ask_second_tier(texts: list[str]) -> NDArray[np.float32]:
        return await _persistently(remote_logits, texts, settings)

    service = GovernanceService(
        governor,
        settings=settings,
        cache=cache,
        recorder=recorder,
        limiter=limiter,
        metrics=metrics,
        verifier=open_engine(second, constitution),
        second_tier=ask_second_tier,
    )
    policy = PolicyService(constitution, governor.judge, cache)
    return GovernanceReplica(settings, constitution, service, policy, metrics, limiter, recorder)
