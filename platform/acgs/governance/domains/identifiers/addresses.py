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
    rf"(?<![\w.,:/$€£-])[0-9]{{1,6}}[A-Za-z]?,? (?:[^\W_][\w.'’-]{{0,30}} ){{1,4}}(?:{_TYPES})\b", re.IGNORECASE
)
_MILITARY = re.compile(
    r"(?<!\w)(?:PSC|Unit|CMR) [0-9]{3,5},? Box [0-9]{2,5}(?:,?\s{1,2}(?:APO|FPO|DPO),? A[AEP] [0-9]{5}(?:-[0-9]{4})?)?", re.IGNORECASE
)
_POST_BOX = re.compile(r"(?<!\w)P\.? ?O\.? ?Box [0-9]{1,6}(?!\w)", re.IGNORECASE)
_UNIT = re.compile(r"(?<!\w)(?:apt|apartment|suite|ste|flat|unit)\.? #?[0-9]{1,5}[A-Za-z]?(?!\w)", re.IGNORECASE)
_SUFFIX_STREET = re.compile(
    r"(?<!\w)(?:[^\W\d_][\w.'’-]{1,30} )?[^\W\d_]{2,30}(?:strasse|straße|straat|gasse|allee|weg|platz|gata|gatan|vej|vegen|veien"
    r"|utca|katu|kuja|tie|laan|plein|stræti|strætið|braut|gade|ulica|ova|ová|ska|ská|iela|tänav|põik|puiestee) [0-9]{1,5}(?![\w.,:/]*[0-9])",
    re.IGNORECASE,
)
_PREFIX_STREET = re.compile(
    r"(?<!\w)(?:[0-9]{1,5},? )?(?:rue|avenue|av\.|calle|via|viale|corso|piazza|ul\.|ulica|rua|boulevard|carrer|chemin|avenida|plaza|largo|travessa|quinta|trg|place|λεωφόρος)"
    r"(?: (?:de|du|des|la|le|les|el|da|do|dos|di|della|del|of|d'|l')){0,2}(?: [^\W\d_a-z][\w.'’-]{1,30}){1,4}(?:,? [0-9]{1,5})?(?!\w)",
    re.IGNORECASE,
)
_CORNER = re.compile(r"(?<!\w)the corner of (?=[^\n]{0,80} and )", re.IGNORECASE)
_ANCHORS = ((_NUMBER_STREET, 0.7), (_SUFFIX_STREET, 0.6), (_PREFIX_STREET, 0.6), (_UNIT, 0.6), (_CORNER, 0.75))

_PIECE = re.compile(r"(?:[0-9]{1,6}(?:[-/][0-9A-Za-z]{1,5})?[A-Za-z]?|[^\W\d_][\w.'’()-]{0,40}|\([^\W\d_][^()\n]{0,40}\))(?!\w)")
_GAP_RIGHT = re.compile(r"(?:[ ]|,|\n){1,4}")
_PARTICLES = frozenset(
    "de du des la le les el da do dos di della del of and the van den der von u ul na op en y e i na gorenjskem apt suite".split()
)
_ABBREVIATIONS = frozenset("apt ste st str ave av rd dr blvd ul u no nr s n e w ln ct pl sq po box hwy bldg fl rm".split())
_LEAD_IN = re.compile(r"[ \t]*(?:is|in|at|to|:|,|\n)?[ \t]*\n?(?:the (?=corner))?", re.IGNORECASE)
_MAX_PIECES = 22
_CUE_REACH = 12


def find_addresses(scan: Scan) -> Iterator[IdentifierSpan]:
    """Addresses with a telling piece, and anything address-like with a number right after "address is", "sent to"."""
    for found in (*_MILITARY.finditer(scan.text), *_POST_BOX.finditer(scan.text)):
        yield IdentifierSpan(Kind.STREET_ADDRESS, found.start(), found.end(), 0.9)
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
    for pattern, score in _ANCHORS:
        for found in pattern.finditer(scan.text, max(0, covered)):
            if found.end() <= covered:
                continue
            start = _grow_left(scan.text, found.start())
            end, _ = _grow_right(scan.text, found.start())
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
        if not (word[0].isdigit() or word[0].isupper() or word[0] == "(" or bare in _PARTICLES or bare in _ABBREVIATIONS):
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
        before = re.search(r"(?<![\w.])((?:[0-9]{1,6}|[^\W\d_a-z][\w'’-]{1,30})(?: |,? ?\n ?|, ))$", text[max(0, start - 44) : start])
        if before is None or before[1].strip(" ,\n").lower() in {"at", "in", "on", "to", "it", "is"}:
            break
        start -= len(before[1])
    return start
