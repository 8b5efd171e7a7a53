from __future__ import annotations

from typing import Any

import pytest

from acgs.governance.domains.research import ResearchCheck

CHECK = ResearchCheck()


@pytest.mark.parametrize(
    ("query", "required", "risk", "vulnerable"),
    [
        ("We recruit volunteers for a study of memory", True, "minimal", []),
        ("Randomized trial of a new drug with placebo in patients", True, "more_than_minimal", []),
        ("A study with inmates and pregnant women as participants", True, "minimal", ["pregnant_women", "prisoners"]),
        ("Study: interviews with children about school", True, "minimal", ["children"]),
        ("A study on adults with dementia as participants", True, "minimal", ["cognitively_impaired"]),
        ("Our research is a secondary analysis of patients in public datasets", False, "minimal", []),
        ("Research on compilers, no human subjects", False, "minimal", []),
        ("Plan the customer interviews for the sales team", False, "minimal", []),
        ("Write unit tests", False, "minimal", []),
    ],
)
def test_research_with_people_needs_approval_by_its_risk_and_population(
    query: str, required: bool, risk: str, vulnerable: list[str]
) -> None:
    result = CHECK.check(query, {}).result
    assert result["irb_approval_required"] is required
    assert result["informed_consent_needed"] is required
    assert result["risk_level"] == risk
    assert result["populations"] == vulnerable
    assert result["vulnerable_populations"] is bool(vulnerable)


def test_an_exemption_does_not_hold_for_vulnerable_people_or_raised_risk() -> None:
    assert CHECK.check("Anonymous survey study of respondents", {}).result["exempt"] is True
    assert CHECK.check("Anonymous survey study of prisoners as respondents", {}).result["exempt"] is False
    assert CHECK.check("Anonymous survey study of respondents", {"risk_level": "high"}).result["exempt"] is False


@pytest.mark.parametrize(
    ("context", "rules", "score"),
    [
        ({}, [], 0.0),
        ({"irb_approved": True, "informed_consent": True}, [], 1.0),
        ({"irb_approved": False, "informed_consent": True}, ["irb.45cfr46.109.approval"], 0.5),
        ({"irb_approved": True, "informed_consent": False}, ["irb.45cfr46.116.informed_consent"], 0.5),
    ],
)
def test_only_what_the_context_states_counts_as_approval_and_consent(
    context: dict[str, Any], rules: list[str], score: float
) -> None:
    finding = CHECK.check("IRB approved study with volunteers, informed consent obtained", context)
    assert [violation.rule for violation in finding.violations] == rules
    assert finding.result["compliance_score"] == score


def test_the_context_may_say_who_takes_part() -> None:
    assert CHECK.check("a plan", {"human_subjects": True}).result["irb_approval_required"] is True
    assert CHECK.check("a study of patients", {"human_subjects": False}).result["irb_approval_required"] is False
    assert CHECK.check("study of volunteers", {"populations": ["children"]}).result["populations"] == ["children"]
