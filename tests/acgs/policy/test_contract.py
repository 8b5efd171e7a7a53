from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.policy.breaker import CircuitBreaker
from acgs.policy.cache import MemoryCache
from acgs.policy.contract import EvaluateRequest, EvaluateResponse, PolicyService
from acgs.policy.engine import RuleInput, RuleViolation
from acgs.policy.judge import RuleJudge
from tests.acgs.policy.conftest import Edited

GOOD = {"fitness_improvement": 0.1, "safety_score": 0.99, "constitutional_compliance": 1.0}


class RecordingCache(MemoryCache):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, bytes] = {}

    async def set(self, key: str, value: bytes, ttl: int = 300) -> None:
        self.written[key] = value
        await super().set(key, value, ttl)


@pytest.fixture
def cache() -> RecordingCache:
    return RecordingCache()


@pytest.fixture
def service(constitution: LockedConstitution, judge: RuleJudge, cache: RecordingCache) -> PolicyService:
    return PolicyService(constitution, judge, cache)


def ask(service: PolicyService, action: str, **parts: Any) -> EvaluateResponse:
    return asyncio.run(service.evaluate(EvaluateRequest(action=action, agent_id="agent-7", **parts)))


def test_leave_is_given_with_no_reason(service: PolicyService, constitution: LockedConstitution) -> None:
    answer = ask(service, "evolve_agent", input_data=GOOD)
    assert (answer.allow, answer.violations, answer.reason, answer.reasons) == (True, [], None, [])
    assert answer.confidence_score is None
    assert answer.policy_version == constitution.digest
    assert answer.fallback is None


def test_a_refusal_names_each_rule_and_its_clauses(service: PolicyService) -> None:
    answer = ask(service, "evolve_agent", input_data={**GOOD, "safety_score": 0.5}, context={"self_approved": True})
    assert not answer.allow
    assert answer.violations == ["ACT-02", "CON-02"]
    assert answer.reason == "The safety score must be at least 0.95; The author of a change may not approve it alone"
    assert [reason["rule"] for reason in answer.reasons] == answer.violations
    assert answer.reasons[0]["clauses"] == [{"field": "input_data.safety_score", "op": "lt", "value": 0.95}]


def test_an_act_without_figures_is_refused(service: PolicyService) -> None:
    assert ask(service, "evolve_agent").violations == ["ACT-04", "ACT-05", "ACT-06"]


def test_an_unknown_act_is_an_error_and_not_leave(service: PolicyService) -> None:
    with pytest.raises(InvalidInputError, match="evolve_agent") as refused:
        ask(service, "launch_missiles")
    assert refused.value.field == "action"


def test_the_second_same_request_comes_from_the_cache(service: PolicyService) -> None:
    first = ask(service, "evolve_agent", input_data=GOOD)
    second = ask(service, "evolve_agent", input_data=dict(reversed(GOOD.items())))
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert second.model_dump(exclude={"cache_hit", "evaluation_time_ms"}) == first.model_dump(
        exclude={"cache_hit", "evaluation_time_ms"}
    )


def test_the_agents_name_does_not_split_the_cache(service: PolicyService) -> None:
    async def both() -> list[bool]:
        requests = [EvaluateRequest(action="evolve_agent", agent_id=name, input_data=GOOD) for name in ("a", "b")]
        return [(await service.evaluate(request)).cache_hit for request in requests]

    assert asyncio.run(both()) == [False, True]


@pytest.mark.parametrize(
    "other",
    [
        {"action": "evolve_agent", "input_data": {**GOOD, "safety_score": 0.98}},
        {"action": "evolve_agent", "input_data": GOOD, "context": {"x": 1}},
        {"action": "require_human_review", "input_data": GOOD},
    ],
)
def test_another_request_does_not(service: PolicyService, other: dict[str, Any]) -> None:
    ask(service, "evolve_agent", input_data=GOOD)
    assert not ask(service, **other).cache_hit


def test_answers_of_another_constitution_are_not_found(
    service: PolicyService, cache: RecordingCache, edited: Edited
) -> None:
    from acgs.policy.clauses import ClauseEngine

    ask(service, "evolve_agent", input_data=GOOD)
    other = edited(lambda raw: raw.update(version="2.0.0"))
    renewed = PolicyService(other, RuleJudge(other, ClauseEngine(other)), cache)
    assert not ask(renewed, "evolve_agent", input_data=GOOD).cache_hit


class BrokenEngine:
    name = "broken"

    def __init__(self, constitution: LockedConstitution) -> None:
        self.policy_version = constitution.digest

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        raise RuntimeError("broken")


def test_fallback_answers_say_so_and_are_never_cached(constitution: LockedConstitution, cache: RecordingCache) -> None:
    service = PolicyService(constitution, RuleJudge(constitution, BrokenEngine(constitution)), cache)
    for reason in ["engine failed: RuntimeError"] * 5 + ["circuit open"]:
        answer = ask(service, "evolve_agent", input_data={**GOOD, "safety_score": 0.5})
        assert (answer.cache_hit, answer.engine, answer.fallback, answer.allow) == (False, "clauses", reason, False)
    assert cache.written == {}


def test_what_is_in_the_cache_but_is_no_answer_is_a_miss(service: PolicyService, cache: RecordingCache) -> None:
    first = ask(service, "evolve_agent", input_data=GOOD)
    [key] = cache.written
    for stored in (b"", b"junk", b"{}", b'{"allow": true}', b"\xff"):
        asyncio.run(cache.set(key, stored))
        answer = ask(service, "evolve_agent", input_data=GOOD)
        assert not answer.cache_hit
        assert answer.allow == first.allow


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("nan")]}])
def test_a_number_that_is_not_finite_is_an_input_error_wherever_it_stands(service: PolicyService, value: Any) -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        ask(service, "evolve_agent", input_data={**GOOD, "note": value})


@pytest.mark.parametrize("value", [2**70, "\ud800", {"deep": [2**64]}])
def test_odd_values_that_no_rule_reads_do_not_keep_an_act_from_being_judged(service: PolicyService, value: Any) -> None:
    assert ask(service, "evolve_agent", input_data={**GOOD, "note": value}).allow


def test_not_a_number_is_refused_though_null_was_cached(service: PolicyService) -> None:
    assert not ask(service, "require_human_review", input_data={"risk_score": None}).allow
    with pytest.raises(InvalidInputError, match="finite"):
        ask(service, "require_human_review", input_data={"risk_score": float("nan")})


@pytest.mark.parametrize(
    "body",
    [
        {"action": "evolve_agent"},
        {"agent_id": "a"},
        {"action": "", "agent_id": "a"},
        {"action": "a" * 65, "agent_id": "a"},
        {"action": "evolve_agent", "agent_id": "a", "allow": True},
        {"action": "evolve_agent", "agent_id": "a", "input_data": []},
    ],
)
def test_a_request_that_does_not_fit_the_contract_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvaluateRequest.model_validate(body)


def test_a_breaker_that_is_open_does_not_keep_the_service_from_answering(constitution: LockedConstitution) -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    breaker.record_failure()
    judge = RuleJudge(constitution, BrokenEngine(constitution), breaker=breaker)
    answer = ask(PolicyService(constitution, judge, MemoryCache()), "evolve_agent", input_data=GOOD)
    assert (answer.allow, answer.fallback) == (True, "circuit open")
