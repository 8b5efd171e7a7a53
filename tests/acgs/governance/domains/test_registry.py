from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.governance.domains.registry import DOMAINS, DomainResources, build_checks

CHECKS = build_checks(DomainResources(digest_key=b"0123456789abcdef"))
FIELDS = {
    "hipaa_compliance": {"phi_detected", "encryption_required", "audit_trail_enabled", "minimum_necessary_standard"},
    "kyc_aml_compliance": {"kyc_required", "aml_screening_needed", "risk_level", "sanctions_check"},
    "irb_compliance": {"irb_approval_required", "informed_consent_needed", "risk_level", "vulnerable_populations"},
    "legal_review": {
        "legal_review_required",
        "regulatory_compliance",
        "liability_assessment",
        "documentation_complete",
    },
}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
KEYS = st.sampled_from(
    ["amount", "amounts", "domain", "name", "counterparty", "encrypted", "transport", "required_documents", "documents",
     "requested_fields", "allowed_fields", "purpose", "populations", "risk_level", "type", "country", "pep", "x"]
)  # fmt: skip
CONTEXTS = st.dictionaries(
    KEYS,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)),
    max_size=5,
)


def test_every_callback_has_its_schema_fields() -> None:
    assert {check.callback for check in CHECKS.values()} == set(FIELDS)
    for check in CHECKS.values():
        result = check.check("hello", {}).result
        assert FIELDS[check.callback] | {"compliance_score", "recommendations"} <= set(result)


@given(st.text(max_size=80), CONTEXTS)
@settings(max_examples=120, deadline=None)
def test_no_request_makes_a_check_raise_and_results_are_plain_json(query: str, context: dict[str, Any]) -> None:
    for check in CHECKS.values():
        finding = check.check(query, context)
        json.dumps(finding.result)
        assert 0 <= finding.result["compliance_score"] <= 1
        assert all(isinstance(value, bool | float | str) for value in finding.facts.values())
        assert check.check(query, context) == finding


@pytest.mark.parametrize("domain", DOMAINS)
def test_where_nothing_applies_the_score_is_one_and_says_so(domain: str) -> None:
    result = CHECKS[domain].check("Tell me a joke about cats", {}).result
    assert result["compliance_score"] == 1.0
    assert result["applicable"] is False


@pytest.mark.parametrize("domain", DOMAINS)
def test_context_that_cannot_be_read_is_reported(domain: str) -> None:
    finding = CHECKS[domain].check("hello", {"x": object()})
    assert finding.result["not_examined"] == ["/context/x: object is no JSON value; not read"]
    assert finding.facts["context_incomplete"] is True


def test_an_unknown_domain_is_refused_and_a_choice_keeps_its_order() -> None:
    resources = DomainResources(digest_key=b"0123456789abcdef")
    assert list(build_checks(resources, ["legal", "finance"])) == ["legal", "finance"]
    with pytest.raises(InvalidInputError):
        build_checks(resources, ["astrology"])
