"""Numbers that mean something only through the words before them: MRN, member id, licence, plate, serial number.

Safe Harbor classes (H) to (M) and (R) have no common format; the label is the evidence, the token after it the span.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.checksums import vin_valid
from acgs.governance.domains.identifiers.cues import ZIP
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

# Label of the cue -> kind and score. A strong label names a number; a weak one may precede any number.
_KIND_BY_CUE: dict[str, tuple[Kind, float]] = {
    "medical_record": (Kind.MEDICAL_RECORD, 0.9),
    "health_plan": (Kind.HEALTH_PLAN, 0.85),
    "account": (Kind.ACCOUNT, 0.7),
    "driver_licence": (Kind.DRIVER_LICENCE, 0.9),
    "licence": (Kind.LICENCE, 0.8),
    "vehicle": (Kind.VEHICLE, 0.8),
    "device": (Kind.DEVICE, 0.8),
    "other": (Kind.OTHER, 0.7),
}
_PRESENCE: dict[str, Kind] = {"biometric": Kind.BIOMETRIC, "photo": Kind.PHOTO}
_FILLER = re.compile(
    r"(?:[ \t]*(?:number|numbers|no\.?|nr\.?|id|is|was|are|#|:|=|-|\u2013|\(|of|plate)){0,4}[ \t]{0,3}\n?",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"(?=[A-Za-z./-]{0,6}[0-9])[A-Za-z0-9][A-Za-z0-9/.-]{2,30}[A-Za-z0-9](?![\w])")
_PLATE = re.compile(r"(?=[A-Z0-9 -]{0,6}[0-9])[A-Z0-9]{1,4}(?:[ -]?[A-Z0-9]{1,4}){1,2}(?![\w])")
_VIN = re.compile(r"(?<![\w])[A-HJ-NPR-Z0-9]{17}(?![\w])")
_POSTCODE = re.compile(
    r"(?<![\w])(?:[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}|[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9]"
    r"|(?:[A-Z]{1,2}-)?[0-9]{3,6}(?:[ -][0-9]{2,4})?|[0-9]{2}-[0-9]{3})(?![\w])",
    re.IGNORECASE,
)
_STATE_ZIP = re.compile(
    r"(?<![\w])(?:A[AEKLPRZ]|C[AOT]|D[CE]|FL|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]"
    r"|T[NX]|UT|V[AIT]|W[AIVY]),? ([0-9]{5}(?:-[0-9]{4})?)(?![\w]|-[0-9])"
)
_PLACE_ZIP = re.compile(
    r"(?<![\w])(?:in|from|near|to|at) [^\W\d_a-z][\w-]{2,30}(?: [^\W\d_a-z][\w-]{1,30}){0,2},? ([0-9]{5})"
    r"(?![\w]|[.,-][0-9])"
)
# A line with nothing but a code, below two short lines: the end of a letter's address block.
_LINE_ZIP = re.compile(
    r"(?<=\n)[ \t]{0,8}([0-9]{3,6}(?:[ -][0-9]{2,4})?|[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9])[ \t]{0,8}(?=\n|$)", re.MULTILINE
)
_SHORT_LINES_ABOVE = re.compile(r"(?:^|\n)[^\n]{2,50}\n[^\n]{2,50}\n\Z")
_UK_CANADA = re.compile(
    r"(?<![\w])(?:[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][ABD-HJLNP-UW-Z]{2}"
    r"|[ABCEGHJ-NPRSTVXY][0-9][A-Z] [0-9][A-Z][0-9])(?![\w])"
)
_FIVE_DIGITS = re.compile(r"[0-9]{5}")
_ZIP_PLUS_4 = re.compile(r"(?<![\w-])[0-9]{5}-[0-9]{4}(?![\w-])")
_SENTENCE_END = re.compile(r"[.!;]\s|\n\n")
_ZIP_REACH = 40


def find_labelled(scan: Scan) -> Iterator[IdentifierSpan]:
    """The token with a digit that follows a label, over fillers such as "number is" or "#"."""
    for cue in scan.cues:
        found_kind = _KIND_BY_CUE.get(cue.label)
        if found_kind is None:
            continue
        kind, score = found_kind
        filler = _FILLER.match(scan.text, cue.end)
        position = cue.end if filler is None else filler.end()
        token = _PLATE.match(scan.text, position) if cue.label == "vehicle" else None
        token = token or _TOKEN.match(scan.text, position)
        if token is not None:
            yield IdentifierSpan(kind, token.start(), token.end(), score)


def find_presence(scan: Scan) -> Iterator[IdentifierSpan]:
    """Mentions of biometric material and full-face photographs; the span is the mention."""
    for cue in scan.cues:
        kind = _PRESENCE.get(cue.label)
        if kind is not None:
            yield IdentifierSpan(kind, cue.start, cue.end, 0.6)


def find_vins(scan: Scan) -> Iterator[IdentifierSpan]:
    """Vehicle identification numbers with a right check digit (North America, China)."""
    for found in _VIN.finditer(scan.text):
        if vin_valid(found[0]):
            yield IdentifierSpan(Kind.VEHICLE, found.start(), found.end(), 0.95)


def find_zip_codes(scan: Scan) -> Iterator[IdentifierSpan]:
    """Postal codes after their label, and US, UK and Canadian ones whose shape tells."""
    for cue in scan.cues:
        if cue.label in ZIP:
            code = _POSTCODE.search(scan.text, cue.end, cue.end + _ZIP_REACH)
            if code is not None and not _SENTENCE_END.search(scan.text, cue.end, code.start()):
                yield IdentifierSpan(Kind.ZIP_CODE, code.start(), code.end(), 0.85)
    if "\n" in scan.text:
        for found in _LINE_ZIP.finditer(scan.text):
            if _SHORT_LINES_ABOVE.search(scan.text, max(0, found.start() - 104), found.start()):
                yield IdentifierSpan(Kind.ZIP_CODE, found.start(1), found.end(1), 0.52)
    for found in _UK_CANADA.finditer(scan.text):
        yield IdentifierSpan(Kind.ZIP_CODE, found.start(), found.end(), 0.7)
    if _FIVE_DIGITS.search(scan.text) is None:
        return
    for pattern, group, score in ((_STATE_ZIP, 1, 0.7), (_PLACE_ZIP, 1, 0.5), (_ZIP_PLUS_4, 0, 0.6)):
        for found in pattern.finditer(scan.text):
            yield IdentifierSpan(Kind.ZIP_CODE, found.start(group), found.end(group), score)
