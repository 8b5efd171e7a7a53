from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.governance.domains.identifiers import IdentifierSpan, Kind, SafeHarborClass, find_identifiers
from acgs.governance.domains.identifiers.span import SAFE_HARBOR_CLASS, resolve_overlaps


def found(text: str) -> list[tuple[Kind, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find_identifiers(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("The patient is Mr. Kim", Kind.PERSON_NAME, "Kim"),
        ("my name is Zora Quist", Kind.PERSON_NAME, "Zora Quist"),
        ("he lives at 12 Oak Street, Springfield", Kind.STREET_ADDRESS, "12 Oak Street, Springfield"),
        ("my zip code is 90210", Kind.ZIP_CODE, "90210"),
        ("seen on 2021-03-04 in clinic", Kind.DATE, "2021-03-04"),
        ("seen on March 4, 2021", Kind.DATE, "March 4, 2021"),
        ("seen on 4 March", Kind.DATE, "4 March"),
        ("a 93 year old man", Kind.AGE_OVER_89, "93"),
        ("call +44 20 7946 0018 now", Kind.PHONE, "+44 20 7946 0018"),
        ("call (212) 555-0147 ext 12", Kind.PHONE, "(212) 555-0147 ext 12"),
        ("fax: 212-555-0147", Kind.FAX, "212-555-0147"),
        ("write to ann.b+x@mail.example.org.", Kind.EMAIL, "ann.b+x@mail.example.org"),
        ("her ssn is 123-45-6789", Kind.SSN, "123-45-6789"),
        ("MRN 123456", Kind.MEDICAL_RECORD, "123456"),
        ("member id: XZ-889120", Kind.HEALTH_PLAN, "XZ-889120"),
        ("account number 0099182", Kind.ACCOUNT, "0099182"),
        ("card 4111 1111 1111 1111 please", Kind.CREDIT_CARD, "4111 1111 1111 1111"),
        ("iban gb82 west 1234 5698 7654 32 thanks", Kind.IBAN, "gb82 west 1234 5698 7654 32"),
        ("driver's license number is D1234567", Kind.DRIVER_LICENCE, "D1234567"),
        ("certificate number C-5512", Kind.LICENCE, "C-5512"),
        ("VIN 1M8GDM9AXKP042788", Kind.VEHICLE, "1M8GDM9AXKP042788"),
        ("license plate ABC 1234 seen", Kind.VEHICLE, "ABC 1234"),
        ("device serial number SN-99A-12", Kind.DEVICE, "SN-99A-12"),
        ("see https://example.org/a?b=1.", Kind.URL, "https://example.org/a?b=1"),
        ("from 2001:db8::1 today", Kind.IP_ADDRESS, "2001:db8::1"),
        ("from 10.20.30.40.", Kind.IP_ADDRESS, "10.20.30.40"),
        ("her fingerprint is on file", Kind.BIOMETRIC, "fingerprint"),
        ("attach a full-face photo", Kind.PHOTO, "full-face photo"),
        ("passport number X1234567", Kind.OTHER, "X1234567"),
    ],
)
def test_each_identifier_class_is_found_with_its_exact_place(text: str, kind: Kind, value: str) -> None:
    assert (kind, value) in found(text)


def test_the_kinds_cover_all_eighteen_safe_harbor_classes() -> None:
    assert {klass for klass in SAFE_HARBOR_CLASS.values() if klass is not None} == set(SafeHarborClass)
    assert len(SafeHarborClass) == 18


@pytest.mark.parametrize(
    "text",
    [
        "HIPAA requires encryption at rest",
        "version 10.2 of the app has 1,234 users and costs $99.50",
        "chapters 12-14 and pages 100 200",
        "we may march on",
        "at 12:45:18 the job ended",
        "order 1234567 items",
    ],
)
def test_ordinary_numbers_and_words_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_a_span_never_starts_in_the_middle_of_a_word_on_the_line_above() -> None:
    assert found("Mornings at Fox News\n\n2000 Pennsylvania Avenue") == [
        (Kind.STREET_ADDRESS, "2000 Pennsylvania Avenue")
    ]
    assert found("write abc\n@example.org") == []


def test_years_weekdays_and_ages_under_ninety_carry_no_safe_harbor_class() -> None:
    spans = find_identifiers("On Tuesday in 2019 a 54 year old came")
    assert {span.kind for span in spans} == {Kind.WEEKDAY, Kind.YEAR, Kind.AGE}
    assert all(span.safe_harbor_class is None for span in spans)


def test_a_number_that_fails_luhn_is_no_card_unless_the_text_says_so() -> None:
    assert Kind.CREDIT_CARD not in dict(found("reference 4111 1111 1111 1112"))
    assert (Kind.CREDIT_CARD, "4111111111111112") in found("my card 4111111111111112")


@pytest.mark.parametrize("prefix", ["\U0001f600\U0001f600 ", "e\u0301\u0301 ", "İİ ", "\u202eabc ", "ﬁ "])
def test_offsets_hold_after_astral_combining_and_growing_characters(prefix: str) -> None:
    text = f"{prefix}write to ann@example.org"
    assert (Kind.EMAIL, "ann@example.org") in found(text)


def test_of_overlapping_spans_the_higher_score_then_the_longer_wins() -> None:
    weak, strong = IdentifierSpan(Kind.PHONE, 0, 10, 0.5), IdentifierSpan(Kind.SSN, 2, 8, 0.9)
    short, long = IdentifierSpan(Kind.ZIP_CODE, 20, 25, 0.7), IdentifierSpan(Kind.STREET_ADDRESS, 18, 40, 0.7)
    assert resolve_overlaps([weak, strong, short, long]) == [strong, long]


@given(st.text(alphabet=string.ascii_letters + string.digits + " .,@:/-+()#\n\u00e9\U0001f600İ", max_size=200))
@settings(max_examples=150)
def test_spans_lie_in_the_text_in_order_and_never_overlap(text: str) -> None:
    spans = find_identifiers(text)
    assert all(0 <= span.start < span.end <= len(text) and 0.5 <= span.score <= 1 for span in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        ".",
        "1.",
        "1 ",
        "(1",
        "1-",
        "a@",
        "a.",
        "1:",
        "A ",
        "Mr. ",
        "apt 1 ",
        "1 A ",
        "address 1 A, ",
        "Jan 1 ",
        "\n1",
    ],
)
def test_a_hundred_thousand_hostile_characters_end(unit: str) -> None:
    # A quadratic pattern takes minutes here; the suite's time limit ends the test.
    text = (unit * 100_000)[:100_000]
    assert all(span.end <= len(text) for span in find_identifiers(text))
