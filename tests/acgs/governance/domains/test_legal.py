from __future__ import annotations

from typing import Any

import pytest

from acgs.governance.domains.legal import LegalCheck

CHECK = LegalCheck()


@pytest.mark.parametrize(
    ("query", "required", "liability"),
    [
        ("Please draft an NDA for the supplier", True, "low"),
        ("We got a subpoena, what now?", True, "low"),
        ("The filing deadline is Friday", True, "low"),
        ("They sued us for negligence", True, "high"),
        ("Can I sue my landlord?", True, "high"),
        ("Who is liable for this injury?", False, "high"),
        ("Summarise the quarterly numbers", False, "low"),
        ("This is not legal advice, just a recipe", False, "low"),
    ],
)
def test_review_and_liability_follow_the_matter(query: str, required: bool, liability: str) -> None:
    result = CHECK.check(query, {}).result
    assert (result["legal_review_required"], result["liability_assessment"]) == (required, liability)


@pytest.mark.parametrize(
    ("context", "complete", "missing"),
    [
        ({}, None, 0),
        ({"required_documents": ["NDA", "MSA"], "documents": ["nda ", "MSA"]}, True, 0),
        ({"required_documents": ["NDA", "MSA"], "documents": ["nda"]}, False, 1),
        ({"required_documents": ["NDA"]}, False, 1),
        ({"required_documents": []}, True, 0),
        ({"required_documents": "NDA"}, None, 0),
    ],
)
def test_documents_are_complete_when_every_required_one_is_there(
    context: dict[str, Any], complete: bool | None, missing: int
) -> None:
    result = CHECK.check("review the contract", context).result
    assert result["documentation_complete"] is complete
    assert result["missing_documents"] == missing


def test_a_matter_that_counsel_refused_or_that_lacks_papers_is_a_violation() -> None:
    context = {"legal_reviewed": False, "required_documents": ["NDA"], "regulatory_compliance": False}
    finding = CHECK.check("review the contract", context)
    assert {violation.rule for violation in finding.violations} == {
        "legal.review", "legal.documentation", "legal.regulatory_compliance",
    }  # fmt: skip
    assert CHECK.check("review the contract", {"legal_reviewed": True}).result["compliance_score"] == 1.0


def test_a_large_claim_is_a_high_liability() -> None:
    assert CHECK.check("look", {"contract_value": 250_000}).result["liability_assessment"] == "high"
    assert CHECK.check("look", {"contract_value": "250000"}).result["liability_assessment"] == "low"
