from __future__ import annotations

import json
from hashlib import sha256

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.audit.entries import Event, parse_entry
from acgs.audit.keys import SigningKey
from acgs.audit.receipts import (
    DecisionFacts,
    ReceiptSigner,
    SignedReceipt,
    canonical_receipt,
    parse_receipt,
    verify_receipt,
)
from acgs.errors import IntegrityError, InvalidInputError

KEY = SigningKey.generate()
# Any text that JSON can carry, with the characters whose order or escaping differs between encoders.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40) | st.sampled_from(
    ['\u20ac$\u000f\nA\'B"\\\\"/', "\U0001f600", "\ufb33", "\x7f\x80", "\u2028\u2029", "</script>"]
)


def issued(**changes: object) -> SignedReceipt:
    facts = {
        "request_digest": sha256(b"request").hexdigest(),
        "constitution_digest": sha256(b"constitution").hexdigest(),
        "constitutional_hash": "cdd01ef066bc6cf2",
        "bundle_version": "1.2.0",
        "domain": "healthcare",
        "verdict": "violate",
        "matched_rules": ["phi.export", "consent.missing"],
    }
    return ReceiptSigner(KEY, "replica-1").issue(DecisionFacts(**(facts | changes)))


def test_a_receipt_is_verified_from_its_json_and_the_public_key_alone() -> None:
    signed = issued()
    pretty = json.dumps(json.loads(signed.entry), indent=4)
    receipt = parse_receipt(pretty)
    verify_receipt(receipt, [KEY.public])
    assert receipt.verdict == "violate"
    assert receipt == signed.receipt()


def test_the_leaf_hash_is_recomputed_from_the_receipt() -> None:
    signed = issued()
    assert sha256(b"\x00" + parse_receipt(signed.entry).entry()).hexdigest() == signed.leaf_hash


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "comply"),
        ("matched_rules", ["phi.export"]),
        ("request_digest", "0" * 64),
        ("model_version", "9.9.9"),
        ("issued_at", "2020-01-01T00:00:00.000000Z"),
        ("signature", "AAAA"),
        ("signature", "not base64!"),
    ],
)
def test_a_changed_field_is_found(field: str, value: object) -> None:
    forged = parse_receipt(json.dumps(json.loads(issued().entry) | {field: value}))
    with pytest.raises(IntegrityError):
        verify_receipt(forged, [KEY.public])


def test_a_receipt_of_an_untrusted_key_is_refused() -> None:
    with pytest.raises(IntegrityError, match="not trusted"):
        verify_receipt(issued().receipt(), [SigningKey.generate().public])


@pytest.mark.parametrize("change", [{"extra": 1}, {"issued_at": "yesterday"}, {"request_digest": "ABC"}, {"domain": 7}])
def test_a_document_that_is_no_receipt_is_refused_without_repeating_it(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_receipt(json.dumps(json.loads(issued().entry) | change))
    assert caught.value.field in change
    assert "yesterday" not in caught.value.message


@given(TEXT, TEXT, st.lists(TEXT, max_size=4), st.none() | TEXT)
@settings(max_examples=300, deadline=None)
def test_what_is_signed_is_the_rfc_8785_form(domain: str, verdict: str, rules: list[str], model: str | None) -> None:
    signed = issued(domain=domain, verdict=verdict, matched_rules=rules, model_version=model)
    assert signed.entry == rfc8785.dumps(dict(signed.fields))
    body = {name: value for name, value in signed.fields.items() if name != "signature"}
    assert canonical_receipt(body) == rfc8785.dumps(body)
    verify_receipt(parse_receipt(signed.entry), [KEY.public])


def test_text_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        issued(domain="\ud800")


def test_a_batch_keeps_its_order_and_gives_each_decision_its_own_receipt() -> None:
    facts = [DecisionFacts("0" * 64, "1" * 64, "2" * 16, "1", "finance", verdict) for verdict in ("comply", "violate")]
    receipts = ReceiptSigner(KEY, "r").issue_many(facts)
    assert [receipt.fields["verdict"] for receipt in receipts] == ["comply", "violate"]
    assert len({receipt.receipt_id for receipt in receipts}) == 2


def test_an_event_survives_the_way_through_its_entry() -> None:
    event = Event(kind="release.promoted", actor="ci", subject="guard", details={"epsilon": 1.5, "slots": ["blue"]})
    assert parse_entry(event.entry()) == event
    assert event.entry() == rfc8785.dumps(event.model_dump())


@pytest.mark.parametrize("details", [{"x": float("nan")}, {"x": 2**60}, {"x": "\ud800"}, {"x": "y" * 70_000}])
def test_an_event_without_a_canonical_form_is_refused(details: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        Event(kind="training.completed", actor="ci", subject="x", details=details).entry()


@pytest.mark.parametrize(
    "entry", [b"", b"[]", b'{"type":"other"}', b'{"type":"event"}', json.dumps(json.loads(issued().entry)).encode()]
)
def test_an_entry_that_is_no_canonical_record_is_refused(entry: bytes) -> None:
    with pytest.raises(InvalidInputError):
        parse_entry(entry)
