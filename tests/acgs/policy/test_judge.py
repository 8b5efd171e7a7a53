from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError, UnavailableError
from acgs.policy.breaker import BreakerState, CircuitBreaker
from acgs.policy.clauses import ClauseEngine
from acgs.policy.engine import RuleInput, RuleViolation
from acgs.policy.judge import RuleJudge, open_engine
from tests.acgs.policy.conftest import Clock, Edited

BREACH = RuleInput(("common", "general"), context={"audit_logging": False})


class FaultyEngine:
    """Answers 'no violation' late, or fails, as told; the answer must never be believed when late."""

    name = "faulty"

    def __init__(self, constitution: LockedConstitution, clock: Clock) -> None:
        self.policy_version = constitution.digest
        self.fault: Exception | None = None
        self.takes = 0.0
        self.calls = 0
        self._clock = clock

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        self.calls += 1
        self._clock.now += self.takes
        if self.fault is not None:
            raise self.fault
        return []


@pytest.fixture
def engine(constitution: LockedConstitution, clock: Clock) -> FaultyEngine:
    return FaultyEngine(constitution, clock)


@pytest.fixture
def guarded(constitution: LockedConstitution, engine: FaultyEngine, clock: Clock) -> RuleJudge:
    return RuleJudge(constitution, engine, breaker=CircuitBreaker(clock=clock), timeout_seconds=0.25, clock=clock)


@pytest.mark.parametrize(
    "fault",
    [UnavailableError("down"), RuntimeError("x"), ValueError("x"), KeyError("x"), OSError("x"), ZeroDivisionError()],
)
def test_when_the_engine_fails_the_fallback_judges_and_says_why(
    guarded: RuleJudge, engine: FaultyEngine, fault: Exception
) -> None:
    engine.fault = fault
    ruling = guarded.rule(BREACH)
    assert [violation.rule for violation in ruling.violations] == ["CON-01"]
    assert not ruling.allowed
    assert ruling.engine == "clauses"
    assert ruling.fallback == f"engine failed: {type(fault).__name__}"


def test_an_answer_that_comes_too_late_is_not_believed(guarded: RuleJudge, engine: FaultyEngine) -> None:
    engine.takes = 0.26
    ruling = guarded.rule(BREACH)
    assert not ruling.allowed
    assert ruling.fallback == "engine too slow"


def test_an_answer_in_time_is_the_engines_own(guarded: RuleJudge, engine: FaultyEngine) -> None:
    engine.takes = 0.25
    ruling = guarded.rule(BREACH)
    assert (ruling.engine, ruling.fallback, ruling.violations) == ("faulty", None, ())


@pytest.mark.parametrize("slow", [True, False])
def test_after_five_failures_the_engine_is_left_alone_for_30_seconds(
    guarded: RuleJudge, engine: FaultyEngine, clock: Clock, slow: bool
) -> None:
    engine.fault, engine.takes = (None, 1.0) if slow else (RuntimeError("x"), 0.0)
    for _ in range(5):
        assert not guarded.rule(BREACH).allowed
    assert guarded.breaker.state is BreakerState.OPEN
    ruling = guarded.rule(BREACH)
    assert (engine.calls, ruling.fallback, ruling.allowed) == (5, "circuit open", False)

    engine.fault, engine.takes = None, 0.0
    clock.now += 30
    for _ in range(3):
        assert guarded.rule(BREACH).engine == "faulty"
    assert guarded.breaker.state is BreakerState.CLOSED


def test_a_wrong_type_is_the_callers_fault_and_not_the_engines(guarded: RuleJudge, engine: FaultyEngine) -> None:
    for _ in range(10):
        with pytest.raises(InvalidInputError):
            guarded.rule(RuleInput(("common",), context={"audit_logging": "false"}))
    assert guarded.breaker.state is BreakerState.CLOSED
    assert engine.calls == 0


@pytest.mark.parametrize("fault", [UnavailableError("no"), RuntimeError("no"), KeyError("no")])
def test_when_the_fallback_fails_too_there_is_no_ruling(
    constitution: LockedConstitution, engine: FaultyEngine, clock: Clock, fault: Exception
) -> None:
    fallback = FaultyEngine(constitution, clock)
    engine.fault, fallback.fault = RuntimeError("first"), fault
    judge = RuleJudge(constitution, engine, fallback=fallback, clock=clock)
    with pytest.raises(UnavailableError):
        judge.rule(BREACH)


def test_a_constitution_without_rules_gets_no_judge(edited: Edited) -> None:
    empty = edited(lambda raw: raw.update(rules=[]))
    with pytest.raises(InvalidInputError, match="allow everything"):
        RuleJudge(empty, open_engine("rego", empty))


def test_an_engine_of_another_constitution_is_refused(constitution: LockedConstitution, edited: Edited) -> None:
    other = edited(lambda raw: raw.update(version="9.9.9"))
    with pytest.raises(UnavailableError, match="another constitution"):
        RuleJudge(constitution, open_engine("rego", other))
    with pytest.raises(UnavailableError, match="another constitution"):
        RuleJudge(constitution, open_engine("rego", constitution), fallback=ClauseEngine(other))


@pytest.mark.parametrize(
    ("scope", "part", "field", "value", "kind"),
    [
        ("common", "context", "audit_logging", "false", "boolean"),
        ("common", "context", "audit_logging", 0, "boolean"),
        ("common", "context", "audit_logging", [], "boolean"),
        ("common", "context", "decision_factor", True, "string"),
        ("common", "context", "decision_factor", ["race"], "string"),
        ("common", "context", "evidence_count", "0", "number"),
        ("common", "context", "evidence_count", True, "number"),
        ("common", "context", "evidence_count", {}, "number"),
        ("evolve_agent", "input_data", "safety_score", "0.99", "number"),
        ("execute_in_sandbox", "input_data", "network_access", "no", "boolean"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(
    judge: RuleJudge, scope: str, part: str, field: str, value: Any, kind: str
) -> None:
    request = RuleInput((scope,), **{part: {field: value}})
    with pytest.raises(InvalidInputError, match=kind) as refused:
        judge.rule(request)
    assert refused.value.field == f"{part}.{field}"
    assert str(value) not in refused.value.message or str(value) in ("[]", "{}", "0")


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), float("-inf"), 2**53 + 1, -(2**63), 2**63, 2**70, 1e300]
)
@pytest.mark.parametrize(
    ("scope", "field", "rest"),
    [
        ("evolve_agent", "safety_score", {"fitness_improvement": 1, "constitutional_compliance": 1}),
        ("execute_in_sandbox", "memory_mb", {"cpu": 0.1, "time_seconds": 1, "network_access": False}),
    ],
)
def test_a_number_that_engines_would_read_differently_is_refused(
    judge: RuleJudge, scope: str, field: str, rest: dict[str, Any], number: float
) -> None:
    """NaN passes every comparison unbreached, and Rego takes 2**63 for undefined: both would be let through."""
    with pytest.raises(InvalidInputError, match=field):
        judge.rule(RuleInput(("common", scope), input_data={**rest, field: number}))


def test_a_null_is_an_absent_field_and_not_a_wrong_type(judge: RuleJudge) -> None:
    request = RuleInput(
        ("common", "evolve_agent"),
        input_data={"fitness_improvement": None, "safety_score": 1, "constitutional_compliance": 1},
    )
    assert [violation.rule for violation in judge.rule(request).violations] == ["ACT-04"]


@pytest.mark.parametrize(("severity", "allowed"), [("minor", True), ("major", False), ("critical", False)])
def test_minor_breaches_advise_and_the_others_decide(edited: Edited, severity: str, allowed: bool) -> None:
    locked = edited(lambda raw: raw["rules"][0].update(severity=severity))
    ruling = RuleJudge(locked, open_engine("rego", locked), timeout_seconds=60).rule(BREACH)
    assert len(ruling.violations) == 1
    assert ruling.allowed is allowed


Sandbox = Callable[..., RuleInput]


def _evolve(**changes: float) -> RuleInput:
    figures = {"fitness_improvement": 0.05, "safety_score": 0.95, "constitutional_compliance": 0.99}
    return RuleInput(("common", "evolve_agent"), input_data=figures | changes)


def _sandbox(**changes: Any) -> RuleInput:
    limits = {"memory_mb": 2048, "cpu": 0.5, "time_seconds": 300, "network_access": False}
    return RuleInput(("common", "execute_in_sandbox"), input_data=limits | changes)


def _review(**facts: Any) -> RuleInput:
    return RuleInput(("common", "require_human_review"), input_data=facts)


@pytest.mark.parametrize(
    ("request_", "rules"),
    [
        (_evolve(), []),
        (_evolve(fitness_improvement=0.0499), ["ACT-01"]),
        (_evolve(fitness_improvement=-1), ["ACT-01"]),
        (_evolve(safety_score=0.9499), ["ACT-02"]),
        (_evolve(constitutional_compliance=0.9899), ["ACT-03"]),
        (_evolve(constitutional_compliance=1), []),
        (_sandbox(), []),
        (_sandbox(memory_mb=2048.0), []),
        (_sandbox(memory_mb=2048.0001), ["ACT-07"]),
        (_sandbox(memory_mb=2049), ["ACT-07"]),
        (_sandbox(cpu=0.5001), ["ACT-08"]),
        (_sandbox(time_seconds=301), ["ACT-09"]),
        (_sandbox(network_access=True), ["ACT-10"]),
        (_sandbox(network_access=None), ["ACT-10"]),
        (_review(risk_score=0.7999), []),
        (_review(risk_score=0.8), ["ACT-15"]),
        (_review(risk_score=0.1, violations=0), []),
        (_review(risk_score=0.1, violations=1), ["ACT-16"]),
        (_review(risk_score=0.1, novel_behavior=False), []),
        (_review(risk_score=0.1, novel_behavior=True), ["ACT-17"]),
        (_review(), ["ACT-18"]),
    ],
)
def test_acts_are_judged_exactly_at_their_limits(judge: RuleJudge, request_: RuleInput, rules: list[str]) -> None:
    ruling = judge.rule(request_)
    assert [violation.rule for violation in ruling.violations] == rules
    assert ruling.allowed is (not rules)
    assert ruling.fallback is None


@pytest.mark.parametrize("risk", [0.80001, 0.79999, 0.123456789])
def test_numbers_too_fine_for_cedar_are_judged_by_the_fallback(constitution: LockedConstitution, risk: float) -> None:
    judge = RuleJudge(constitution, open_engine("cedar", constitution), timeout_seconds=60)
    ruling = judge.rule(_review(risk_score=risk))
    assert ruling.allowed is (risk < 0.8)
    assert ruling.fallback == "engine failed: UnavailableError"
