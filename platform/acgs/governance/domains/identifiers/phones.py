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
    r"(?<![\w+@#$€£¥%.,/:=-])(?:\+ ?|\()?\(?[0-9][0-9() .\-\u00a0\u2011/]{4,24}[0-9]"
    r"(?:,? ?(?:x|ext\.?|extension) ?[0-9]{1,6})?(?![\w%€£]|[.,:-][0-9])",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r",? ?(?:x|ext\.?|extension) ?[0-9]{1,6}\Z", re.IGNORECASE)
_NANP = re.compile(r"(?:(?:\+|00)?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}")
_TRUNK = re.compile(r"(?:00?[0-9]{1,4}|\(0[0-9]{1,4}\))(?:[ ./-][0-9]{2,5}){1,5}")
_AREA_IN_BRACKETS = re.compile(r"\([0-9]{2,4}\) ?[0-9]{2,4}(?:[ .-]?[0-9]{2,5}){1,3}")
_LOOSE_SEPARATORS = re.compile(r"[^0-9]{3,}|//|\.\.|--")
_DATE_LIKE = re.compile(
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{2}|[0-9]{4}))(?: [0-9]{2})?"
)
_DIGITS = re.compile(r"[0-9]+")
_CUE_REACH = 40


def find_phones(scan: Scan) -> Iterator[IdentifierSpan]:
    """Phone and fax numbers; a number is a fax number where the nearest word before it says so."""
    for found in _CANDIDATE.finditer(scan.text):
        number = _EXTENSION.sub("", found[0])
        # A label may follow its number on a letterhead: "555 0100-Office".
        cue = scan.cue_after(found.end(), PHONE, 2) or scan.cue_before(found.start(), PHONE, _CUE_REACH)
        alone = _stands_alone(scan.text, found.start(), found.end())
        score = _score(number, extended=number != found[0], announced=cue is not None, alone=alone)
        if score:
            kind = Kind.FAX if cue is not None and cue.label == "fax" else Kind.PHONE
            yield IdentifierSpan(kind, found.start(), found.end(), score)


def _score(number: str, *, extended: bool, announced: bool, alone: bool) -> float:
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
    return 0.5 if _grouped_like_a_phone(number) or (alone and digits <= 12) else 0.3


def _grouped_like_a_phone(number: str) -> bool:
    """True for 2 to 5 groups of 2 to 4 digits with 7 to 12 in all that are no thousands, years or page range."""
    groups = _DIGITS.findall(number)
    sizes = [len(group) for group in groups]
    if not 2 <= len(sizes) <= 5 or not 7 <= sum(sizes) <= 12 or min(sizes) < 2 or max(sizes) > 4:
        return False
    thousands = all(size == 3 for size in sizes[1:])
    range_like = len(sizes) == 2 and (sizes[0] == sizes[1] or ("-" in number and sizes != [3, 4]))
    return not thousands and not range_like


def _stands_alone(text: str, start: int, end: int) -> bool:
    """True where the number fills its line, as in a letterhead or signature."""
    line_start = text.rfind("\n", max(0, start - 4), start) + 1 if start > 3 else 0
    alone_before = not text[line_start:start].strip() if line_start or start <= 3 else False
    return alone_before and end - start < len(text) and text[end : end + 1] in {"", "\n"}
