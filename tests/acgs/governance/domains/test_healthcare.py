from __future__ import annotations

import json
from typing import Any

import pytest

from acgs.errors import InvalidInputError
from acgs.governance.domains.finding import DomainFinding
from acgs.governance.domains.healthcare import HealthcareCheck

KEY = b"0123456789abcdef"
CHECK = HealthcareCheck(digest_key=KEY)
SAFE = {
    "encrypted": True,
    "audit_trail_enabled": True,
    "purpose": "treatment",
    "requested_fields": ["name"],
    "allowed_fields": ["name", "dob"],
}


def check(query: str, **context: Any) -> DomainFinding:
    return CHECK.check(query, context)


@pytest.mark.parametrize(
    ("query", "phi"),
    [
        ("John Doe, MRN 123456, HIV positive", True),
        ("Mrs. Kim was diagnosed with asthma on 2 May 2021", True),
        ("Email ann@example.org about her chemotherapy", True),
        ("medical school tuition?", False),
        ("HIPAA requires encryption", False),
        ("Call Ann at 212-555-0147 about the invoice", False),
        ("Which drugs treat diabetes?", False),
        ("A 54 year old has a fever", False),
    ],
)
def test_health_information_is_protected_only_together_with_an_identifier(query: str, phi: bool) -> None:
    finding = check(query)
    assert finding.result["phi_detected"] is phi
    assert finding.facts["phi_detected"] is phi
    assert finding.result["encryption_required"] is phi


def test_identifiers_are_found_in_nested_context_by_key_with_their_pointer() -> None:
    finding = check("summarise", patient={"name": "A B", "contacts": [{"phone": "x9"}]}, diagnosis="flu")
    places = {(entry["source"], entry["identifier_class"]) for entry in finding.result["evidence"]}
    assert places == {("/context/patient/name", "name"), ("/context/patient/contacts/0/phone", "telephone_number")}
    assert finding.result["phi_detected"] is True


def test_evidence_holds_places_and_keyed_digests_but_never_the_text() -> None:
    query = "John Doe, MRN 123456, HIV positive"
    finding, other = check(query), HealthcareCheck(digest_key=b"another-key-0123").check(query, {})
    spans = {query[entry["start"] : entry["end"]] for entry in finding.result["evidence"]}
    assert spans == {"John Doe", "123456"}
    told = json.dumps(finding.result)
    assert "John" not in told
    assert "123456" not in told.replace(finding.result["evidence"][1]["digest"], "").replace(
        finding.result["evidence"][0]["digest"], ""
    )
    assert finding.result["evidence"][0]["digest"] != other.result["evidence"][0]["digest"]
    assert check(query).result == finding.result


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"encrypted": False}, "hipaa.164.312.e.transmission_security"),
        ({"transport": "plain"}, "hipaa.164.312.e.transmission_security"),
        ({"audit_trail_enabled": False}, "hipaa.164.312.b.audit_controls"),
        ({"requested_fields": ["name", "ssn"]}, "hipaa.164.502.b.minimum_necessary"),
        ({"purpose": ""}, "hipaa.164.502.b.minimum_necessary"),
    ],
)
def test_a_missing_safeguard_on_health_information_is_a_violation(change: dict[str, Any], rule: str) -> None:
    safe = CHECK.check("John Doe, MRN 123456, HIV positive", SAFE)
    assert safe.violations == []
    assert safe.result["compliance_score"] == 1.0
    broken = CHECK.check("John Doe, MRN 123456, HIV positive", SAFE | change)
    assert [violation.rule for violation in broken.violations] == [rule]
    assert broken.result["compliance_score"] < 1.0


def test_what_the_context_does_not_say_is_unknown_not_good() -> None:
    finding = check("John Doe, MRN 123456, HIV positive")
    assert finding.result["audit_trail_enabled"] is None
    assert finding.result["minimum_necessary_standard"] is None
    assert finding.result["compliance_score"] == 0.0
    assert len(finding.result["recommendations"]) == 3


def test_a_clinical_request_that_cannot_be_read_in_full_is_refused() -> None:
    finding = check("HIV therapy " + "x" * 30_000)
    assert [violation.rule for violation in finding.violations] == ["request.readable"]


def test_a_digest_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        HealthcareCheck(digest_key=b"short")
