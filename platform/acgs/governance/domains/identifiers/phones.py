"""Telephone and fax numbers in national and international spelling, by shape and by the words before them.

Shapes: ITU-T E.164 (7 to 15 digits, + prefix), the North American plan (NANP), and the grouped trunk-0 style of
most other countries. A grouped number without a telling shape counts only beside a word such as "call" or "fax".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.cues import PHONE
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

_CANDIDATE = re.compile(
    r"(?<![\w+@#$€£¥%.,/:=-])(?:\+ ?|\()?\(?[0-9][0-9() .\-\u00a0\u2011/]{4,24}[0-9](?:,? ?(?:x|ext\.?|extension) ?[0-9]{1,6})?"
    r"(?![\w%€£]|[.,:-][0-9])",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r",? ?(?:x|ext\.?|extension) ?[0-9]{1,6}$", re.IGNORECASE)
_NANP = re.compile(r"(?:(?:\+|00)?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}")
_TRUNK = re.compile(r"(?:00?[0-9]{1,4}|\(0[0-9]{1,4}\))(?:[ ./-][0-9]{2,5}){1,5}")
_AREA_IN_BRACKETS = re.compile(r"\([0-9]{2,4}\) ?[0-9]{2,4}(?:[ .-]?[0-9]{2,5}){1,3}")
_LOOSE_SEPARATORS = re.compile(r"[^0-9]{3,}|//|\.\.|--")
_DATE_LIKE = re.compile(r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{2}|[0-9]{4}))(?: [0-9]{2})?")
_CUE_REACH = 40


def find_phones(scan: Scan) -> Iterator[IdentifierSpan]:
    """Phone and fax numbers; a number is a fax number where the nearest word before it says so."""
    for found in _CANDIDATE.finditer(scan.text):
        number = _EXTENSION.sub("", found[0])
        cue = scan.cue_before(found.start(), PHONE, _CUE_REACH)
        score = _score(number, extended=number != found[0], announced=cue is not None)
        if score:
            kind = Kind.FAX if cue is not None and cue.label == "fax" else Kind.PHONE
            yield IdentifierSpan(kind, found.start(), found.end(), score)


def _score(number: str, *, extended: bool, announced: bool) -> float:
    digits = sum(character.isdigit() for character in number)
    if not 7 <= digits <= 15 or _LOOSE_SEPARATORS.search(number) or _DATE_LIKE.fullmatch(number):
        return 0.0
    if number.count("(") != number.count(")"):
        return 0.0
    bonus = 0.15 if announced else 0.0
    if number.startswith("+") and digits >= 8:
        return 0.8 + bonus
    if _NANP.fullmatch(number):
        return 0.75 + bonus
    if _TRUNK.fullmatch(number) and digits >= 9:
        return 0.6 + bonus
    if extended or (_AREA_IN_BRACKETS.fullmatch(number) and digits >= 8):
        return 0.6 + bonus
    if announced:
        return 0.65
    # Three or more groups, or ten plain digits: a number of something; too little to go by on its own.
    return 0.3
