"""Dates, bare years, days of the week and ages.

45 CFR 164.514(b)(2)(i)(C): all elements of dates except the year, and ages over 89. Years, weekdays and lower ages
are found as well, under kinds of their own that carry no Safe Harbor class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

_TIME = (
    r"(?:(?:T|,? (?:at )?)[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?: ?[ap]\.?m\b\.?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_NUMERIC = re.compile(
    r"(?<![\w./:-])(?:"
    r"(?:1[0-9]|20)[0-9]{2}([-/.])(?:1[0-2]|0?[1-9])\1(?:3[01]|[12][0-9]|0?[1-9])" + _TIME + r"|"
    r"(?:3[01]|[12][0-9]|0?[1-9])([-/.])(?:3[01]|[12][0-9]|0?[1-9])\2(?:(?:1[0-9]|20)[0-9]{2}|[0-9]{2})" + _TIME + r")"
    r"(?![\w]|[-/.][0-9])"
)
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?"
_YEAR4 = r"(?:1[0-9]|20)[0-9]{2}"
_AFTER_MONTH = re.compile(rf"\.?(?: {_DAY}(?:,? {_YEAR4})?|,? {_YEAR4}|-{_DAY}-{_YEAR4})(?![\w])" + _TIME)
_BEFORE_MONTH = re.compile(rf"(?<![\w.,/:$€£]){_DAY}(?: (?:of )?|-)\Z", re.IGNORECASE)
_YEAR_AFTER_DAY_MONTH = re.compile(rf"\.?(?:,? |-){_YEAR4}(?![\w])" + _TIME)
_YEAR = re.compile(r"(?<![\w.,:/$€£#@+()-])(?:1[89][0-9]{2}|20[0-4][0-9])(?![\w%€£$]|[.,/:-][0-9])")
_YEAR_ANNOUNCED = re.compile(
    r"(?:\b(?:in|since|from|until|till|by|of|during|before|after|year|early|late|circa|around)|\ba|\bthe|[(,])\s\Z"
)
_YEAR_NOT_FOLLOWED = re.compile(
    r" ?(?:[A-Z]\w|dollars|euros|usd|people|patients|mg|ml|kg|km|miles|units|shares|records|words|tokens|\n)"
)
_AGE = re.compile(
    r"(?<![\w.,-])([0-9]{1,3})(?= ?-?(?:(?:years?|yrs?)[ -](?:old|of age)\b|yo\b|y/o\b|y\.o\.))"
    r"|\b(?:aged?|turn(?:ed|s|ing)|age[ds]? (?:is|of|was)|age:)[ ]?([0-9]{1,3})(?!\w|[.,:/-][0-9])"
    r"|\b(?:i am|i'm|he is|he's|she is|she's|he was|she was|they are|you are|is now"
    r"|was then|will turn|'ll turn|turn|turns)"
    r" (?:only |just |now |about |almost )?([1-9][0-9]{0,2})"
    r"(?= ?(?:[.,;!?)]|$|\n| and | but | now\b| when | with | or ))",
    re.IGNORECASE,
)
# "Anna Berg, 47, was admitted": the apposition of news and case reports.
_AGE_APPOSITION = re.compile(
    r"(?<=[^\W\d_], )([1-9][0-9]{0,2})(?=, (?:[a-z]|\n)|, [A-Z]?[a-z]+ )"
    r"|(?<=[^\W\d_] \()([1-9][0-9])(?=\))"
)


_AGE_HINTS = ("year", "yr", "yo", "y/o", "y.o", "age", "turn", "i am", "'m ", " is ", "'s ", "was ", "are ", ", ", " (")


def find_dates(scan: Scan) -> Iterator[IdentifierSpan]:
    """Numeric dates and dates with a month's name, with a time of day where one follows."""
    for found in _NUMERIC.finditer(scan.text):
        yield IdentifierSpan(Kind.DATE, found.start(), found.end(), 0.9)
    for cue in scan.cues:
        if cue.label != "month":
            continue
        before = _BEFORE_MONTH.search(scan.text, max(0, cue.start - 8), cue.start)
        start = cue.start if before is None else before.start()
        after = (_AFTER_MONTH if before is None else _YEAR_AFTER_DAY_MONTH).match(scan.text, cue.end)
        if before is None and after is None:
            continue
        yield IdentifierSpan(Kind.DATE, start, cue.end if after is None else after.end(), 0.9)


def find_weekdays(scan: Scan) -> Iterator[IdentifierSpan]:
    """Days of the week by name."""
    for cue in scan.cues:
        if cue.label == "weekday":
            yield IdentifierSpan(Kind.WEEKDAY, cue.start, cue.end, 0.7)


def find_years(scan: Scan) -> Iterator[IdentifierSpan]:
    """Bare years 1800 to 2049 after a word that a year follows; before a capitalised word rather a house."""
    for found in _YEAR.finditer(scan.text):
        start = found.start()
        if not _YEAR_ANNOUNCED.search(scan.folded, max(0, start - 12), start):
            continue
        crowded = _YEAR_NOT_FOLLOWED.match(scan.text, found.end()) is not None
        yield IdentifierSpan(Kind.YEAR, start, found.end(), 0.5 if crowded else 0.6)


def find_ages(scan: Scan) -> Iterator[IdentifierSpan]:
    """Ages in years (0 to 129); those over 89 are an identifier of their own."""
    if not any(hint in scan.folded for hint in _AGE_HINTS):
        return
    for found in (*_AGE.finditer(scan.text), *_AGE_APPOSITION.finditer(scan.text)):
        group = found.lastindex or 1
        years = int(found[group])
        if years < 130:
            kind = Kind.AGE_OVER_89 if years > 89 else Kind.AGE
            yield IdentifierSpan(kind, found.start(group), found.end(group), 0.8 if found.re is _AGE else 0.5)
