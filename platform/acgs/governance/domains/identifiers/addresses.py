"""Street addresses: a telling piece (house number and street type, unit, military post box) grown to its neighbours.

The growth takes numbers, capitalised words and a few particles over commas and line ends, and stops at a sentence's
end or an ordinary word. It is a heuristic; measured figures are in `benchmarks/pii.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.cues import ADDRESS
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

_TYPES = (
    "street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|place|pl|square|squares|sq|terrace|way|parkway"
    "|pkwy|highway|hwy|circle|crescent|close|grove|trail|turnpike|row|quay|walk|mews|hill|gardens|alley|plaza|streets"
)
_NUMBER_STREET = re.compile(
    rf"(?<![\w.,:/$€£-])[0-9]{{1,6}}[A-Za-z]?,? (?:[^\W_][\w.'\u2019-]{{0,30}} ){{1,4}}(?:{_TYPES})\b", re.IGNORECASE
)
_MILITARY = re.compile(
    r"(?<!\w)(?:(?:(?:PSC|Unit|CMR) [0-9]{3,5},? Box [0-9]{2,5}|US[NCS][A-Z]{0,3} [A-Z]\w{2,30}),?\s{1,2})?"
    r"(?:APO|FPO|DPO),? A[AEP],? [0-9]{5}(?:-[0-9]{4})?(?!\w)",
    re.IGNORECASE,
)
_POST_BOX = re.compile(r"(?<!\w)(?:P\. ?O\.|PO|Post Office) ?Box [0-9]{1,6}(?!\w)", re.IGNORECASE)
_UNIT = re.compile(r"(?<!\w)(?:apt|apartment|suite|ste|flat|unit)\.? #?[0-9]{1,5}[A-Za-z]?(?!\w)", re.IGNORECASE)
_SUFFIX_STREET = re.compile(
    r"(?<!\w)(?:[^\W\d_][\w.'\u2019-]{1,30} )?[^\W\d_]{2,30}(?:strasse|straße|straat|gasse|allee|weg|platz|gata"
    r"|gatan|vej|vegen|veien|utca|katu|kuja|tie|laan|plein|stræti|strætið|braut|gade|ulica|ova|ová|ska|ská|iela|tänav"
    r"|põik|puiestee) [0-9]{1,5}(?![\w.,:/]*[0-9])",
    re.IGNORECASE,
)
_PREFIX_STREET = re.compile(
    r"(?<!\w)(?:[0-9]{1,5},? )?(?i:rue|avenue|av\.|calle|via|viale|corso|piazza|ul\.|ulica|rua|rúa|boulevard"
    r"|carrer|chemin|avenida|plaza|largo|travessa|quinta|trg|place|λεωφόρος|λ\.)"
    r"(?: (?:de|du|des|la|le|les|el|da|do|dos|di|della|del|of)){0,2}"
    r"(?: [^\W\d_a-z][\w.'\u2019-]{1,30}){1,4}(?:,? [0-9]{1,5})?(?!\w)"
)
_NUMBER_NAME_NUMBER = re.compile(
    r"(?<![\w.,:/$€£-])[0-9]{2,6}(?: [^\W\d_a-z][\w.'\u2019-]{2,30}){1,3} [0-9]{1,4}(?![\w%]|[.,:/-][0-9])"
)
_CORNER = re.compile(r"(?<!\w)the corner of [^\W_][\w.'\u2019-]{0,30}(?=[^\n]{0,80} and )", re.IGNORECASE)
_ANY_NUMBER: tuple[str, ...] = ("",)
_SUFFIXES = (
    "strasse",
    "straße",
    "straat",
    "gasse",
    "allee",
    "weg",
    "platz",
    "gata",
    "vej",
    "veg",
    "vei",
    "utca",
    "katu",
    "kuja",
    "tie",
    "laan",
    "plein",
    "stræti",
    "braut",
    "gade",
    "ulica",
    "ova",
    "ová",
    "ska",
    "ská",
    "iela",
    "tänav",
    "põik",
    "puiestee",
)
_PREFIXES = (
    "rue",
    "avenue",
    "av.",
    "calle",
    "via",
    "corso",
    "piazza",
    "ul.",
    "ulica",
    "rua",
    "rúa",
    "boulevard",
    "carrer",
    "chemin",
    "avenida",
    "plaza",
    "largo",
    "travessa",
    "quinta",
    "trg",
    "place",
    "λεωφόρος",
    "λ.",
)
# Pattern, score, and strings of which the folded text must hold one: a substring test is ten times cheaper.
_ANCHORS = (
    (_NUMBER_STREET, 0.7, _ANY_NUMBER),
    (_SUFFIX_STREET, 0.6, _SUFFIXES),
    (_PREFIX_STREET, 0.6, _PREFIXES),
    (_UNIT, 0.6, ("apt", "apartment", "suite", "ste", "flat", "unit")),
    (_POST_BOX, 0.75, ("box",)),
    (_NUMBER_NAME_NUMBER, 0.55, _ANY_NUMBER),
    (_CORNER, 0.75, ("the corner of",)),
)

_PIECE = re.compile(
    r"(?:[0-9]{1,6}(?:[-/][0-9A-Za-z]{1,5})?[A-Za-z]?|[^\W\d_][\w.'\u2019()-]{0,40}|\([^\W\d_][^()\n]{0,40}\))(?!\w)"
)
_GAP_RIGHT = re.compile(r"(?:\.(?=\n))?(?:[ ]|,|\n){1,4}")
# A lower-case word may stay where a house number follows it soon ("Stensås terrasse 38", "trg revolucije 17").
_LOWER_BEFORE_NUMBER = re.compile(r"[^\W\d_][\w.'\u2019-]{1,24},? (?:[^\W\d_][\w.'\u2019-]{0,24} )?[0-9]{1,5}(?!\w)")
_ELIDED = re.compile(r"[dlDL]['\u2019][^\W\d_a-z]")
_ORDINARY = frozenset(
    (
        "about", "after", "are", "around", "as", "at", "before", "between", "by", "call", "for", "from", "had", "has",
        "have", "her", "his", "if", "in", "is", "it", "just", "my", "on", "only", "or", "our", "over", "per", "please",
        "plus", "room", "since", "than", "their", "to", "under", "until", "was", "with", "within", "your",
    )
)  # fmt: skip
_PARTICLES = frozenset(
    (
        "and", "apt", "da", "de", "del", "della", "den", "der", "des", "di", "do", "dos", "du", "e", "el", "en", "i",
        "la", "le", "les", "na", "of", "op", "suite", "the", "u", "ul", "van", "von", "y",
    )
)  # fmt: skip
_ABBREVIATIONS = frozenset(
    (
        "apt", "av", "ave", "bldg", "blvd", "box", "ct", "dr", "e", "fl", "hwy", "ln", "n", "no", "nr", "pl", "po",
        "rd", "rm", "s", "sq", "st", "ste", "str", "u", "ul", "w",
    )
)  # fmt: skip
_LEAD_IN = re.compile(
    r"[ \t]*(?:of [^\n.?!:]{1,60}? is|is|in|at|to|:|,|\n)?[ \t]*\n?(?:the (?=corner))?", re.IGNORECASE
)
_BEFORE = re.compile(r"(?<![\w.])((?:[0-9]{1,6}|[^\W\d_a-z][\w'\u2019-]{1,30})(?: |,? ?\n ?|, ))\Z")
_LEFT_STOP = frozenset(("at", "in", "on", "to", "it", "is", "address", "the"))
# The last lines of an address block: a postal code on a line of its own, at most three short lines below the street.
_CODE_LINE = re.compile(
    r"(?:[^\n]{0,40}\n){1,4}?[ \t>?]*([0-9]{2,6}(?:[ -][0-9]{2,4})?|[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9])[ \t]*(?:\n|$)"
)
_MAX_PIECES = 22


def find_addresses(scan: Scan) -> Iterator[IdentifierSpan]:
    """Addresses with a telling piece, and anything address-like with a number right after "address is", "sent to".

    A postal code on a line of its own below an address is a span of its own.
    """
    for span in (*_find_military(scan), *_find_announced(scan), *_find_anchored(scan)):
        yield span
        code = _CODE_LINE.match(scan.text, span.end)
        if code is not None:
            yield IdentifierSpan(Kind.ZIP_CODE, code.start(1), code.end(1), 0.55)


def _find_military(scan: Scan) -> Iterator[IdentifierSpan]:
    if not any(hint in scan.folded for hint in ("apo", "fpo", "dpo")):
        return
    for found in _MILITARY.finditer(scan.text):
        yield IdentifierSpan(Kind.STREET_ADDRESS, found.start(), found.end(), 0.9)


def _find_announced(scan: Scan) -> Iterator[IdentifierSpan]:
    covered = -1
    for cue in scan.cues:
        if cue.label not in ADDRESS or cue.end < covered:
            continue
        lead = _LEAD_IN.match(scan.text, cue.end)
        start = cue.end if lead is None else lead.end()
        end, pieces = _grow_right(scan.text, start)
        if pieces >= 2 and any(character.isdigit() for character in scan.text[start:end]):
            covered = end
            yield IdentifierSpan(Kind.STREET_ADDRESS, start, end, 0.8)


def _find_anchored(scan: Scan) -> Iterator[IdentifierSpan]:
    for pattern, score, hints in _ANCHORS:
        if not any(hint in scan.folded for hint in hints):
            continue
        for found in pattern.finditer(scan.text):
            start = _grow_left(scan.text, found.start())
            grown_from = found.start() if pattern is not _CORNER else found.start() + len("the corner of ")
            end, _ = _grow_right(scan.text, grown_from)
            yield IdentifierSpan(Kind.STREET_ADDRESS, start, max(end, found.end()), score)


def _grow_right(text: str, start: int) -> tuple[int, int]:
    """End of the run of address pieces at `start`, and the number of pieces in it."""
    position, end, pieces = start, start, 0
    while pieces < _MAX_PIECES:
        found = _PIECE.match(text, position)
        if found is None:
            break
        word = found[0]
        bare = word.rstrip(".").lower()
        if not (
            word[0].isdigit()
            or word[0].isupper()
            or word[0] == "("
            or bare in _PARTICLES
            or bare in _ABBREVIATIONS
            or _ELIDED.match(word)
            or (pieces and bare not in _ORDINARY and _LOWER_BEFORE_NUMBER.match(text, position))
        ):
            break
        stop = word.endswith(".") and bare not in _ABBREVIATIONS
        if bare not in _PARTICLES or bare in {"apt", "suite"}:
            end = found.end() - 1 if stop else found.end()
        pieces += 1
        gap = _GAP_RIGHT.match(text, found.end())
        if stop or gap is None or "\n\n" in gap[0]:
            break
        position = gap.end()
    return end, pieces


def _grow_left(text: str, start: int) -> int:
    """Start of the address whose telling piece is at `start`: up to two numbers or capitalised words before it."""
    for _ in range(4):
        before = _BEFORE.search(text, max(0, start - 44), start)
        if before is None or before[1].strip(" ,\n").lower() in _LEFT_STOP:
            break
        start -= len(before[1])
    return start
