"""Check digits and issue rules that tell an identifier from a number that only looks like one. All are pure."""

from __future__ import annotations

import ipaddress
from itertools import cycle

# Total IBAN length by country: SWIFT IBAN Registry, release 99.
IBAN_LENGTH = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip

_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_VIN_VALUE = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)
)
_VIN_WEIGHT = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def luhn_valid(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B over a string of ASCII digits; a string of zeros is not a number anyone was issued."""
    if not (digits.isascii() and digits.isdigit()) or not digits.strip("0"):
        return False
    total = sum(
        int(digit) if single else _LUHN_DOUBLED[int(digit)]
        for digit, single in zip(reversed(digits), cycle((True, False)), strict=False)
    )
    return total % 10 == 0


def card_prefix_known(digits: str) -> bool:
    """True for the issuer ranges of the large card schemes (ISO/IEC 7812 first digits 2 to 6, UATP 1800)."""
    return digits[:1] in {"3", "4", "5", "6"} or "2131" <= digits[:4] <= "2720" or digits.startswith("1800")


def iban_valid(iban: str) -> bool:
    """ISO 13616: the country's length and ISO 7064 mod 97-10 over upper-case letters and digits without spaces."""
    if not (iban.isascii() and iban.isalnum()) or IBAN_LENGTH.get(iban[:2]) != len(iban) or not iban[2:4].isdigit():
        return False
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def ssn_valid(digits: str) -> bool:
    """Numbers the US Social Security Administration may issue: no area 000, 666 or 9xx, group 00, serial 0000."""
    if len(digits) != 9 or not (digits.isascii() and digits.isdigit()):
        return False
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def vin_valid(vin: str) -> bool:
    """49 CFR 565.15(c): 17 characters without I, O, Q and the check digit in the ninth place."""
    if len(vin) != 17:
        return False
    total = 0
    for character, weight in zip(vin, _VIN_WEIGHT, strict=True):
        value = int(character) if character.isascii() and character.isdigit() else _VIN_VALUE.get(character)
        if value is None:
            return False
        total += value * weight
    return vin[8] == "0123456789X"[total % 11]


def ip_valid(text: str) -> bool:
    """True for an IPv4 or IPv6 address in the spelling that the standard library accepts."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
