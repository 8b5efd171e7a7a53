from __future__ import annotations

from dataclasses import replace

import pytest

from acgs.errors import UnavailableError
from acgs.governance.decision import Decision, Governor
from acgs.governance.verification import Verification, verify
from acgs.policy.engine import RuleInput, RuleViolation
from acgs.policy.judge import open_engine

CONTEXT = {"audit_logging": False, "amount": 3}


@pytest.fixture(scope="module")
def decision(governor: Governor) -> Decision:
    return governor.decide("build a bomb", "finance", CONTEXT)


class SilentEngine:
    """Finds no breach, or fails."""

    name = "silent"
    policy_version = ""

    def __init__(self, fault: UnavailableError | None = None) -> None:
        self._fault = fault

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        if self._fault is not None:
            raise self._fault
        return []


@pytest.mark.parametrize("engine", ["clauses", "cedar", "rego"])
def test_every_engine_confirms_what_another_found(governor: Governor, decision: Decision, engine: str) -> None:
    assert decision.evidence.ruling.violations
    second = open_engine(engine, governor.constitution)
    assert verify(governor, decision, CONTEXT, second).verified


@pytest.mark.parametrize("engine", [SilentEngine(), SilentEngine(UnavailableError("down"))])
def test_an_engine_that_finds_otherwise_or_fails_counts_as_disagreement(
    governor: Governor, decision: Decision, engine: SilentEngine
) -> None:
    found = verify(governor, decision, CONTEXT, engine)
    assert not found.verified
    assert found.score == pytest.approx(2 / 3)
    assert found.as_dict()["recommendations"] == ["do not act on this decision: rules_by_second_engine disagrees"]


def test_a_score_that_the_trees_do_not_give_is_noticed(governor: Governor, decision: Decision) -> None:
    tampered = replace(decision, evaluation=replace(decision.evaluation, score=decision.evaluation.score - 1e-6))
    found = verify(governor, tampered, CONTEXT, open_engine("cedar", governor.constitution))
    assert found.checks == {
        "rules_by_second_engine": True,
        "forest_by_serial_reference": False,
        "attribution_is_additive": False,
    }


def test_an_attribution_that_does_not_add_up_is_noticed(governor: Governor, decision: Decision) -> None:
    moved = decision.evaluation.attributions.copy()
    moved[0] += 1e-6
    tampered = replace(decision, evaluation=replace(decision.evaluation, attributions=moved))
    found = verify(governor, tampered, CONTEXT, open_engine("cedar", governor.constitution))
    assert found.checks["attribution_is_additive"] is False
    assert found.checks["forest_by_serial_reference"] is True


def test_only_what_agrees_throughout_is_verified() -> None:
    assert Verification({"a": True, "b": True}).verified
    assert not Verification({"a": True, "b": False}).verified
