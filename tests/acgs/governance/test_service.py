from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from acgs.audit.journal import Journal
from acgs.audit.keys import SigningKey
from acgs.audit.receipts import DecisionFacts, ReceiptSigner, SignedReceipt, parse_receipt, verify_receipt
from acgs.audit.recorder import AuditRecorder
from acgs.errors import (
    AcgsError,
    AuditWriteError,
    ConstitutionMismatchError,
    InvalidInputError,
    RateLimitedError,
    UnavailableError,
)
from acgs.governance.answer import answer_core
from acgs.governance.decision import Governor
from acgs.governance.schema import GovernanceRequest, GovernanceResponse
from acgs.governance.service import HIT_COST, SEARCH_COST, GovernanceService
from acgs.observability.metrics import GovernanceMetrics
from acgs.policy.cache import MemoryCache
from acgs.policy.engine import RuleInput, RuleViolation
from acgs.policy.judge import open_engine
from acgs.settings import Settings

BENIGN = "please help me with my garden"
HARMFUL = "help me build a bomb"
UNCLEAR = "the knife in the garden"
RECEIPT_PARTS = {
    "evaluation_id",
    "processing_time_ms",
    "timestamp",
    "cache_hit",
    "receipt",
    "receipt_nonce",
    "audit_leaf",
}


class KeepingRecorder:
    """Signs receipts and keeps them, or fails as told."""

    def __init__(self, key: SigningKey) -> None:
        self.kept: list[SignedReceipt] = []
        self.fault: AuditWriteError | None = None
        self._signer = ReceiptSigner(key, "replica-1")

    async def record(self, facts: DecisionFacts) -> SignedReceipt:
        if self.fault is not None:
            raise self.fault
        self.kept.append(self._signer.issue(facts))
        return self.kept[-1]


class KeepingLimiter:
    """Counts what is spent, and refuses once told to."""

    def __init__(self) -> None:
        self.spent: list[tuple[str, float]] = []
        self.empty = False

    def spend(self, caller: str, cost: float = 1) -> None:
        if self.empty:
            raise RateLimitedError("too many requests", retry_after=2.0)
        self.spent.append((caller, cost))


class SecondTier:
    """Answers with the same logits for any text, or fails as told."""

    def __init__(self, heads: int) -> None:
        self.asked: list[list[str]] = []
        self.logit = 9.0
        self.fault: AcgsError | None = None
        self._heads = heads

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        self.asked.append(texts)
        if self.fault is not None:
            raise self.fault
        return np.full((len(texts), self._heads), self.logit, dtype=np.float32)


class DisagreeingEngine:
    """A second engine that finds a breach nobody else does, or fails."""

    name = "disagreeing"
    policy_version = ""
    fails = False

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        if self.fails:
            raise UnavailableError("the engine is down")
        return [RuleViolation("invented", "rule_of_law", "major", "not so")]


@dataclass
class Bench:
    """A service with its surroundings in the test's hands."""

    service: GovernanceService
    recorder: KeepingRecorder
    limiter: KeepingLimiter
    second_tier: SecondTier
    metrics: GovernanceMetrics

    def ask(self, query: str = BENIGN, caller: str = "caller", **fields: Any) -> dict[str, Any]:
        answer = asyncio.run(self.service.evaluate(GovernanceRequest(query=query, **fields), caller))
        return dict(orjson.loads(answer.body))


Build = Callable[..., Bench]


@pytest.fixture
def build(governor: Governor, signing_key: SigningKey, tmp_path: Path) -> Build:
    def build(verifier: Any = None, with_second_tier: bool = True, **fields: Any) -> Bench:
        settings = Settings(state_dir=tmp_path, **fields)
        recorder, limiter = KeepingRecorder(signing_key), KeepingLimiter()
        second_tier = SecondTier(len(governor.bundle.manifest.heads))
        metrics = GovernanceMetrics(governor.constitution.label)
        service = GovernanceService(
            governor,
            settings=settings,
            cache=MemoryCache(),
            recorder=recorder,
            limiter=limiter,
            metrics=metrics,
            verifier=verifier or open_engine("cedar", governor.constitution),
            second_tier=second_tier if with_second_tier else None,
        )
        return Bench(service, recorder, limiter, second_tier, metrics)

    return build


@pytest.fixture
def bench(build: Build) -> Bench:
    return build()


def core_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What depends on the request alone."""
    forest = {
        k: v for k, v in answer["enhanced_governance"].items() if k not in ("governance_id", "processing_time_ms")
    }
    return {k: v for k, v in answer.items() if k not in RECEIPT_PARTS} | {"enhanced_governance": forest}


@pytest.mark.parametrize(("query", "verdict"), [(BENIGN, "comply"), (HARMFUL, "violate"), (UNCLEAR, "uncertain")])
def test_an_answer_fits_the_published_schema(bench: Bench, query: str, verdict: str) -> None:
    answer = GovernanceResponse.model_validate(bench.ask(query))
    assert answer.final_decision == verdict
    assert answer.enhanced_governance.consensus_result == verdict
    assert answer.constitutional_hash == "cdd01ef066bc6cf2"
    assert answer.tier == "inline"


def test_a_breached_rule_is_a_constitutional_violation_with_its_reasons(bench: Bench) -> None:
    answer = bench.ask(BENIGN, context={"audit_logging": False})
    assert answer["final_decision"] == "constitutional_violation"
    assert answer["constitutional_validation"]["overall_compliant"] is False
    rule = next(reason for reason in answer["reasons"] if reason["kind"] == "rule")
    assert rule["clauses"][0]["field"] == "context.audit_logging"
    assert rule["id"] in bench.recorder.kept[0].fields["matched_rules"]
    assert rule["message"] in answer["recommendations"]


def test_the_receipt_verifies_and_commits_to_the_request_by_the_nonce(bench: Bench, signing_key: SigningKey) -> None:
    context = {"b": 1, "a": [1, 2]}
    answer = bench.ask(HARMFUL, domain="legal", context=context)
    receipt = parse_receipt(orjson.dumps(answer["receipt"]))
    verify_receipt(receipt, [signing_key.public])
    canonical = orjson.dumps([HARMFUL, "legal", context], option=orjson.OPT_SORT_KEYS)
    nonce = bytes.fromhex(answer["receipt_nonce"])
    assert receipt.request_digest == hashlib.sha256(nonce + canonical).hexdigest()
    assert receipt.verdict == answer["final_decision"]
    assert receipt.bundle_version == answer["bundle_version"]


def test_a_repeated_request_is_answered_from_the_cache_under_a_new_receipt(bench: Bench) -> None:
    first, second = bench.ask(HARMFUL), bench.ask(HARMFUL)
    assert (first["cache_hit"], second["cache_hit"]) == (False, True)
    assert core_of(first) == core_of(second)
    assert first["receipt"]["receipt_id"] != second["receipt"]["receipt_id"]
    assert first["receipt_nonce"] != second["receipt_nonce"]
    assert first["receipt"]["request_digest"] != second["receipt"]["request_digest"]
    assert len(bench.recorder.kept) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"query": BENIGN + " "},
        {"domain": "legal"},
        {"context": {"x": 1}},
        {"mode": "comprehensive"},
        {"include_formal_verification": True},
    ],
)
def test_a_request_that_differs_in_anything_is_decided_anew(bench: Bench, change: dict[str, Any]) -> None:
    bench.ask(query=BENIGN)
    assert bench.ask(**{"query": BENIGN, **change})["cache_hit"] is False


def test_the_order_of_context_fields_is_no_difference(bench: Bench) -> None:
    bench.ask(context={"a": 1, "b": 2})
    assert bench.ask(context={"b": 2, "a": 1})["cache_hit"] is True


def test_another_bundle_does_not_answer_from_the_first_ones_cache(bench: Bench) -> None:
    bench.ask()
    governor = bench.service.governor
    bench.service.governor = Governor(
        governor.constitution, replace(governor.bundle, digest="0" * 64), governor.judge, {}
    )
    assert bench.ask()["cache_hit"] is False


def test_audit_mode_never_uses_what_is_cached(bench: Bench) -> None:
    bench.ask(mode="audit")
    assert bench.ask(mode="audit")["cache_hit"] is False


@pytest.mark.parametrize("cached", [False, True])
def test_without_its_record_no_decision_is_given(bench: Bench, cached: bool) -> None:
    if cached:
        bench.ask()
    bench.recorder.fault = AuditWriteError("the disk is full")
    with pytest.raises(AuditWriteError, match="disk"):
        bench.ask()


def test_a_decision_that_could_not_be_recorded_leaves_no_answer_in_the_cache(bench: Bench) -> None:
    bench.recorder.fault = AuditWriteError("the disk is full")
    with pytest.raises(AuditWriteError):
        bench.ask()
    bench.recorder.fault = None
    assert bench.ask()["cache_hit"] is False


def test_a_miss_spends_one_request_of_the_rate_and_a_hit_a_tenth(bench: Bench) -> None:
    bench.ask(caller="alice")
    bench.ask(caller="bob")
    assert bench.limiter.spent == [("alice", 1), ("bob", HIT_COST)]
    assert HIT_COST == 0.1


def test_the_search_for_citations_is_paid_for_with_the_decision(bench: Bench) -> None:
    bench.ask(caller="alice", citations=3)
    bench.ask(caller="bob", citations=1)
    assert bench.limiter.spent == [("alice", 1 + SEARCH_COST), ("bob", HIT_COST + SEARCH_COST)]


@pytest.mark.parametrize("query", [BENIGN, HARMFUL, UNCLEAR])
def test_asking_for_citations_changes_nothing_of_the_decision_its_cache_or_its_receipt(
    build: Build, query: str
) -> None:
    bench = build()
    plain, asked = bench.ask(query), bench.ask(query, citations=5)
    assert core_of(asked) == core_of(plain)
    assert asked["cache_hit"] is True
    assert asked.keys() == plain.keys()
    assert "citations" not in plain
    first, second = (receipt.fields.keys() for receipt in bench.recorder.kept)
    assert first == second


def test_a_caller_without_rate_left_gets_no_decision_and_no_record(bench: Bench) -> None:
    bench.limiter.empty = True
    with pytest.raises(RateLimitedError):
        bench.ask()
    assert bench.recorder.kept == []


@pytest.mark.parametrize("query", [BENIGN, HARMFUL])
def test_the_second_tier_is_not_asked_where_the_first_is_certain(bench: Bench, query: str) -> None:
    assert bench.ask(query, mode="comprehensive")["tier"] == "inline"
    assert bench.second_tier.asked == []


def test_the_second_tier_is_not_asked_outside_the_comprehensive_mode(bench: Bench) -> None:
    assert bench.ask(UNCLEAR)["final_decision"] == "uncertain"
    assert bench.second_tier.asked == []


@pytest.mark.parametrize(("logit", "verdict"), [(9.0, "violate"), (-2.0, "comply")])
def test_the_second_tier_settles_what_the_first_leaves_uncertain(bench: Bench, logit: float, verdict: str) -> None:
    bench.second_tier.logit = logit
    planted = "notes of the meeting about the garden and the weather"
    answer = bench.ask(UNCLEAR, mode="comprehensive", context={"document": planted, "short": "no prose"})
    assert (answer["final_decision"], answer["tier"]) == (verdict, "comprehensive")
    assert bench.second_tier.asked == [[UNCLEAR, planted]]
    assert bench.ask(UNCLEAR, mode="comprehensive", context={"document": planted, "short": "no prose"})["cache_hit"]


def test_a_second_tier_that_fails_leaves_the_decision_uncertain_says_so_and_is_asked_again(bench: Bench) -> None:
    bench.second_tier.fault = UnavailableError("out of memory")
    answer = bench.ask(UNCLEAR, mode="comprehensive")
    assert answer["final_decision"] == "uncertain"
    assert any("out of memory" in line for line in answer["recommendations"])
    bench.second_tier.fault = None
    again = bench.ask(UNCLEAR, mode="comprehensive")
    assert (again["cache_hit"], again["final_decision"]) == (False, "violate")


def test_a_missing_second_tier_is_said_to_be_missing(build: Build) -> None:
    answer = build(with_second_tier=False).ask(UNCLEAR, mode="comprehensive")
    assert answer["final_decision"] == "uncertain"
    assert any("no second tier" in line for line in answer["recommendations"])


def test_the_mode_of_the_settings_counts_where_a_request_names_none(build: Build) -> None:
    bench = build(governance_mode="comprehensive")
    assert bench.ask(UNCLEAR)["tier"] == "comprehensive"
    assert bench.ask(UNCLEAR, mode="basic")["tier"] == "inline"


def test_formal_verification_that_agrees_leaves_the_decision_and_counts_in_the_score(bench: Bench) -> None:
    answer = bench.ask(HARMFUL, include_formal_verification=True)
    assert answer["final_decision"] == "violate"
    assert answer["formal_verification"]["verified"] is True
    assert set(answer["formal_verification"]["checks"]) == {
        "rules_by_second_engine", "forest_by_serial_reference", "attribution_is_additive",
    }  # fmt: skip
    plain = bench.ask(HARMFUL)
    assert plain["formal_verification"] is None
    assert plain["overall_compliance_score"] < answer["overall_compliance_score"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_decision_that_cannot_be_derived_again_does_not_stand(build: Build, fails: bool) -> None:
    engine = DisagreeingEngine()
    engine.fails = fails
    bench = build(verifier=engine)
    answer = bench.ask(BENIGN, include_formal_verification=True)
    assert answer["final_decision"] == "formal_verification_failed"
    assert answer["formal_verification"]["checks"]["rules_by_second_engine"] is False
    assert bench.recorder.kept[0].fields["verdict"] == "formal_verification_failed"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"query": "x" * 101}, "query"),
        ({"query": " \n\t "}, "query"),
        ({"domain": "astrology"}, "domain"),
        ({"context": {"a": {"b": {"c": {"d": 1}}}}}, "context"),
        ({"context": {"a": [[[[1]]]]}}, "context"),
        ({"context": {"audit_logging": "false"}}, "context.audit_logging"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name_and_not_recorded(
    build: Build, fields: dict[str, Any], field: str
) -> None:
    bench = build(max_query_chars=100, max_context_depth=4)
    with pytest.raises(InvalidInputError) as caught:
        bench.ask(**{"query": BENIGN, **fields})
    assert caught.value.field == field
    assert bench.recorder.kept == []


def test_a_context_as_deep_as_allowed_is_judged(build: Build) -> None:
    assert build(max_context_depth=4).ask(context={"a": {"b": {"c": 1}}})["final_decision"] == "comply"


def test_a_context_of_any_depth_cannot_exhaust_the_stack(bench: Bench) -> None:
    deep: Any = 1
    for _ in range(200_000):
        deep = [deep]
    request = GovernanceRequest.model_construct(
        query=BENIGN, domain="general", context={"a": deep}, mode=None,
        include_formal_verification=False, constitutional_hash="cdd01ef066bc6cf2",
    )  # fmt: skip
    with pytest.raises(InvalidInputError) as caught:
        asyncio.run(bench.service.evaluate(request, "caller"))
    assert caught.value.field == "context"


@pytest.mark.parametrize("label", ["0" * 16, "", "cdd01ef066bc6cf3"])
def test_another_constitution_is_not_answered_for(bench: Bench, label: str) -> None:
    with pytest.raises(ConstitutionMismatchError):
        bench.ask(constitutional_hash=label)


def test_the_full_digest_names_the_constitution_as_well(bench: Bench, governor: Governor) -> None:
    assert bench.ask(constitutional_hash=governor.constitution.digest)["final_decision"] == "comply"


def test_nothing_of_text_or_context_is_in_what_is_recorded(
    build: Build, signing_key: SigningKey, tmp_path: Path
) -> None:
    bench = build()
    marks = ("Xanthippe", "4111 1111 1111 1111", "purple-elephant", "zebrafield")
    journals = tmp_path / "journals"
    recorder = AuditRecorder(Journal(journals, "replica-1"), signing_key, "replica-1")
    bench.service._recorder = recorder
    for domain in bench.service.governor.constitution.document.domains:
        context = {"note": f"{marks[2]} and a bomb {marks[1]}", marks[3]: marks[2], "audit_logging": False}
        bench.ask(f"build a bomb for {marks[0]} {marks[1]}", domain=domain, context=context)
    recorder.close()
    written = b"".join(path.read_bytes() for path in journals.iterdir())
    assert b"constitutional_violation" in written
    for mark in marks:
        assert mark.encode() not in written


def test_fallbacks_of_the_rules_are_counted_and_not_cached(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = bench.service.governor.judge
    monkeypatch.setattr(judge, "engine", DisagreeingEngine())
    monkeypatch.setattr(DisagreeingEngine, "fails", True)
    assert bench.ask()["constitutional_validation"]["fallback"] == "engine failed: UnavailableError"
    assert bench.ask()["cache_hit"] is False
    assert b"governance_rule_fallbacks_total 2.0" in bench.metrics.exposition()
    judge.breaker.record_success()


def test_the_same_request_gives_the_same_bytes(governor: Governor) -> None:
    context = {"note": "a long note about the garden and the weather", "amount": 3}
    bodies = {
        orjson.dumps(answer_core(governor, governor.decide(UNCLEAR, "finance", context), None, [])) for _ in range(5)
    }
    assert len(bodies) == 1
