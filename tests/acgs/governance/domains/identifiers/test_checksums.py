from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.governance.domains.identifiers.checksums import iban_valid, ip_valid, luhn_valid, ssn_valid, vin_valid

DIGITS = st.text("0123456789", min_size=11, max_size=18)


def luhn_digit(digits: str) -> str:
    """Check digit by the textbook: double from the right, sum the digits, fill up to ten."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += sum(map(int, str(value)))
    return str(-total % 10)


@given(DIGITS)
def test_exactly_one_last_digit_makes_a_card_number_valid(digits: str) -> None:
    valid = [last for last in "0123456789" if luhn_valid(digits + last)]
    assert valid == ([] if set(digits) == {"0"} else [luhn_digit(digits)])


@given(DIGITS, st.integers(0, 17), st.integers(1, 9))
def test_a_single_wrong_digit_is_always_noticed(digits: str, place: int, shift: int) -> None:
    number = digits + luhn_digit(digits)
    place %= len(number)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    assert not luhn_valid(wrong)


@pytest.mark.parametrize("iban", ["GB82WEST12345698765432", "DE89370400440532013000", "NO9386011117947"])
def test_published_example_ibans_are_valid(iban: str) -> None:
    assert iban_valid(iban)


@pytest.mark.parametrize(
    "iban", ["GB82WEST12345698765433", "GB82WEST1234569876543", "ZZ82WEST12345698765432", "gb82", "", "GBÀ2WEST"]
)
def test_ibans_with_a_wrong_digit_length_or_country_are_refused(iban: str) -> None:
    assert not iban_valid(iban)


@pytest.mark.parametrize(
    ("digits", "valid"),
    [("123456789", True), ("000456789", False), ("666456789", False), ("923456789", False), ("123006789", False),
     ("123450000", False), ("12345678", False), ("12345678x", False)],
)  # fmt: skip
def test_social_security_numbers_follow_the_issue_rules(digits: str, valid: bool) -> None:
    assert ssn_valid(digits) is valid


def test_a_vin_with_a_changed_character_fails_its_check_digit() -> None:
    assert vin_valid("1M8GDM9AXKP042788")
    assert not vin_valid("1M8GDM9AXKP042789")
    assert not vin_valid("IM8GDM9AXKP042788")


@pytest.mark.parametrize(
    ("text", "valid"), [("10.0.0.1", True), ("::1", True), ("256.1.1.1", False), ("12:45:18", False)]
)
def test_ip_addresses_are_those_that_parse(text: str, valid: bool) -> None:
    assert ip_valid(text) is valid
