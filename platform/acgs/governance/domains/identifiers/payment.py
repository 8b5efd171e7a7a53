"""Payment cards, IBANs and US Social Security numbers: digits with a rule that a wrong one fails."""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.checksums import (
    IBAN_LENGTH,
    card_prefix_known,
    iban_valid,
    luhn_valid,
    ssn_valid,
)
from acgs.governance.domains.identifiers.cues import CARD, SSN
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

_CARD = re.compile(r"(?<![\w.+\-/])[0-9](?:[ -]?[0-9]){11,18}(?![\w])")
_IBAN = re.compile(r"(?<![\w])[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}")
_SSN = re.compile(r"(?<![\w\-/])[0-9]{3}([- ]?)[0-9]{2}\1[0-9]{4}(?![\w]|-[0-9])")
_CUE_REACH = 40


def find_cards(scan: Scan) -> Iterator[IdentifierSpan]:
    """12 to 19 digits that pass Luhn and start like a scheme's card; without either, only beside the word card."""
    for found in _CARD.finditer(scan.text):
        digits = found[0].replace(" ", "").replace("-", "")
        announced = scan.cue_before(found.start(), CARD, _CUE_REACH) is not None
        if luhn_valid(digits):
            known = card_prefix_known(digits)
            score = 0.97 if announced else (0.92 if known and len(digits) >= 13 else 0.55 if known else 0.4)
        elif announced:
            # A mistyped card number is still the customer's card number.
            score = 0.6
        else:
            continue
        yield IdentifierSpan(Kind.CREDIT_CARD, found.start(), found.end(), score)


def find_ibans(scan: Scan) -> Iterator[IdentifierSpan]:
    """IBANs written together or in groups, in either case; what follows the country's length is not taken."""
    for found in _IBAN.finditer(scan.text):
        length = IBAN_LENGTH.get(found[0][:2].upper())
        if length is None:
            continue
        places = [place for place, character in enumerate(found[0]) if character != " "][:length]
        end = found.start() + places[-1] + 1
        characters = [found[0][place] for place in places]
        if iban_valid("".join(characters).upper()):
            yield IdentifierSpan(Kind.IBAN, found.start(), end, 0.99)


def find_ssns(scan: Scan) -> Iterator[IdentifierSpan]:
    """Nine digits in the 3-2-4 grouping that could have been issued; ungrouped or not issuable only where announced."""
    for found in _SSN.finditer(scan.text):
        announced = scan.cue_before(found.start(), SSN, _CUE_REACH) is not None
        possible = ssn_valid(re.sub("[- ]", "", found[0]))
        if found[1] == "-" and possible:
            score = 0.95 if announced else 0.85
        elif announced:
            score = 0.9 if possible else 0.6
        elif found[1] == " " and possible:
            score = 0.4
        else:
            continue
        yield IdentifierSpan(Kind.SSN, found.start(), found.end(), score)
