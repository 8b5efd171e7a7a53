"""One request from cache to receipt: check, decide, record, answer. Knows no HTTP and no Ray."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from acgs.audit.receipts import DecisionFacts, SignedReceipt
from acgs.errors import UnavailableError
from acgs.governance.answer import answer_core
from acgs.governance.decision import COMPREHENSIVE, Decision, Governor
from acgs.governance.limits import check_limits
from acgs.governance.schema import GovernanceRequest
from acgs.governance.verification import verify
from acgs.observability.metrics import GovernanceMetrics
from acgs.policy.cache import DecisionCache
from acgs.policy.engine import RuleEngine
from acgs.settings import Settings

HIT_COST = 0.1
"""Share of a request that a cache hit takes from the caller's rate."""

SEARCH_COST = 1
"""What the search for citations takes from it besides."""

_NONCE_BYTES = 16

SecondTierScorer = Callable[[list[str]], Awaitable[NDArray[np.float32]]]


class Recorder(Protocol):
    """Puts a decision on record; raises `AuditWriteError` if it cannot."""

    async def record(self, facts: DecisionFacts) -> SignedReceipt:
        """The signed receipt, once it is durable."""


class Limiter(Protocol):
    """Spends a caller's rate; raises `RateLimitedError` when there is none left."""

    def spend(self, caller: str, cost: float = 1) -> None:
        """Take `cost` requests."""


def price(request: GovernanceRequest, *, hit: bool = False) -> float:
    """What a request takes from its caller's rate."""
    return (HIT_COST if hit else 1) + (SEARCH_COST if request.citations else 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response as JSON bytes, with what metrics need."""

    body: bytes
    domain: str
    final_decision: str
    confidence: float
    cache_hit: bool


class GovernanceService:
    """Answers governance requests for one replica."""

    def __init__(
        self,
        governor: Governor,
        *,
        settings: Settings,
        cache: DecisionCache,
        recorder: Recorder,
        limiter: Limiter,
        metrics: GovernanceMetrics,
        verifier: RuleEngine,
        second_tier: SecondTierScorer | None = None,
    ) -> None:
        self.governor = governor
        self._settings = settings
        self._cache = cache
        self._recorder = recorder
        self._limiter = limiter
        self._metrics = metrics
        self._verifier = verifier
        self._second_tier = second_tier

    async def evaluate(self, request: GovernanceRequest, caller: str | None) -> Answer:
        """Judge a request of `caller`, whose rate it spends; None if it was paid for as part of a batch.

        Raises:
            AcgsError: no decision was made; the message says why. Nothing of a refused request is cached.
        """
        started = time.perf_counter()
        self.governor.constitution.require(request.constitutional_hash)
        context = request.context or {}
        domains = self.governor.constitution.document.domains
        check_limits(request.query, request.domain, context, limits=self._settings, domains=domains)
        mode = request.mode or self._settings.governance_mode
        canonical = orjson.dumps([request.query, request.domain, context], option=orjson.OPT_SORT_KEYS)
        key = self._cache_key(canonical, mode, request.include_formal_verification)
        core = None if mode == "audit" else await self._cache.get(key)
        if caller is not None:
            self._limiter.spend(caller, price(request, hit=core is not None))
        if core is not None:
            return await self._record_and_answer(core, canonical, started, hit=True)
        core, lasting = await self._decide(request, context, mode)
        answer = await self._record_and_answer(core, canonical, started, hit=False)
        if lasting:
            ttl = self._settings.cache_ttl or domains[request.domain].cache_ttl
            await self._cache.set(key, core, ttl=ttl)
        return answer

    def _cache_key(self, canonical: bytes, mode: str, formal: bool) -> str:
        """Everything the decision depends on."""
        digest = hashlib.sha256(canonical)
        governor = self.governor
        digest.update(f"|{mode}|{formal}|{governor.constitution.digest}|{governor.bundle.digest}".encode())
        return digest.hexdigest()

    async def _decide(self, request: GovernanceRequest, context: Mapping[str, Any], mode: str) -> tuple[bytes, bool]:
        """The answer's core, and whether it may be cached: not when a part that should have judged was down."""
        governor = self.governor
        evidence = governor.gather(request.query, request.domain, context)
        if evidence.ruling.fallback:
            self._metrics.fell_back()
        decision = governor.conclude(evidence, governor.inline_logits(evidence))
        notes: list[str] = []
        if mode == "comprehensive" and decision.final_decision == "uncertain":
            decision, notes = await self._ask_second_tier(decision)
        verification = (
            verify(governor, decision, context, self._verifier) if request.include_formal_verification else None
        )
        core = orjson.dumps(answer_core(governor, decision, verification, notes))
        return core, evidence.ruling.fallback is None and not notes

    async def _ask_second_tier(self, decision: Decision) -> tuple[Decision, list[str]]:
        """The second tier's decision; where it cannot answer, the uncertain one stands and says so."""
        try:
            if self._second_tier is None:
                raise UnavailableError("no second tier is deployed")
            logits = (await self._second_tier(decision.evidence.texts)).max(axis=0)
        except UnavailableError as error:
            return decision, [f"the second tier could not be asked: {error.message}"]
        return self.governor.conclude(decision.evidence, logits, COMPREHENSIVE), []

    async def _record_and_answer(self, core: bytes, canonical: bytes, started: float, *, hit: bool) -> Answer:
        """Sign and record the decision, then complete the answer.

        The receipt commits to the request by SHA-256 over a nonce and the canonical request. The nonce goes to the
        caller alone, so that nobody can guess short texts from the audit log.
        """
        response: dict[str, Any] = orjson.loads(core)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        receipt = await self._recorder.record(
            DecisionFacts(
                request_digest=hashlib.sha256(nonce + canonical).hexdigest(),
                constitution_digest=self.governor.constitution.digest,
                constitutional_hash=self.governor.constitution.label,
                bundle_version=self.governor.bundle.version,
                domain=response["domain"],
                verdict=response["final_decision"],
                matched_rules=[reason["id"] for reason in response["reasons"] if reason["kind"] != "principle"],
            )
        )
        elapsed = round((time.perf_counter() - started) * 1000, 4)
        response["evaluation_id"] = "eval_" + receipt.receipt_id[-8:]
        response["enhanced_governance"]["governance_id"] = "gov_" + receipt.receipt_id[-8:]
        response["enhanced_governance"]["processing_time_ms"] = elapsed
        response["processing_time_ms"] = elapsed
        response["timestamp"] = datetime.now(UTC).isoformat()
        response["cache_hit"] = hit
        response["receipt"] = dict(receipt.fields)
        response["receipt_nonce"] = nonce.hex()
        response["audit_leaf"] = receipt.leaf_hash
        return Answer(
            body=orjson.dumps(response),
            domain=response["domain"],
            final_decision=response["final_decision"],
            confidence=response["confidence"],
            cache_hit=hit,
        )
