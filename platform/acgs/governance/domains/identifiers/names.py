"""Names of persons by title, by the words before them, and by a known given name. Scores are low on purpose.

No pattern finds all names: measured recall is in `benchmarks/pii.py`. A statistical recognizer may be added beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.given_names import GIVEN_NAMES
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

_WORD = re.compile(r"[^\W\d_](?:[\w'\u2019`-]{0,38}[^\W_]|\.)?")
_GAP = re.compile(r"\.?[ \t]{1,2}")
_LABEL_GAP = re.compile(r"\.?[ \t]{0,2}(?:[:,?][ \t]{0,2})?(?:is[ \t])?\n{0,2}")
_CAPITALISED = re.compile(r"(?<![\w@.'\u2019])[^\W\d_a-z][\w'\u2019]{2,20}(?![\w@])")
_PARTICLES = frozenset(
    (
        "af", "al", "av", "bin", "da", "de", "del", "della", "den", "der", "do", "dos", "el", "ibn", "la", "le", "ter",
        "van", "von",
    )
)  # fmt: skip
_SCORE = {"title": 0.8, "patient": 0.65, "name": 0.6}
_MAX_WORDS = 4
# Capitalised words that follow a cue without being a name.
_NOT_NAMES = frozenset(
    (
        "a", "address", "all", "also", "american", "an", "and", "any", "april", "are", "as", "at", "august", "avenue",
        "bank", "be", "been", "british", "but", "by", "can", "care", "clinic", "college", "company", "consent", "corp",
        "could", "data", "date", "dear", "december", "department", "did", "do", "does", "east", "email", "english",
        "everyone", "february", "for", "french", "friday", "from", "german", "group", "he", "health", "hello", "her",
        "here", "hi", "his", "history", "hospital", "how", "i", "id", "if", "in", "inc", "information", "is", "it",
        "its", "january", "july", "june", "just", "llc", "ltd", "madam", "march", "may", "medical", "might", "monday",
        "must", "my", "name", "new", "no", "north", "not", "november", "now", "number", "october", "of", "office", "on",
        "or", "our", "phone", "please", "portal", "privacy", "record", "records", "rights", "road", "safety",
        "saturday", "school", "september", "service", "services", "shall", "she", "should", "sir", "so", "south",
        "spanish", "still", "street", "sunday", "team", "thank", "thanks", "that", "the", "their", "then", "there",
        "these", "they", "this", "those", "thursday", "to", "tuesday", "united", "university", "very", "was", "we",
        "wednesday", "were", "west", "what", "when", "where", "which", "who", "why", "will", "with", "would", "yes",
        "you", "your",
    )
)  # fmt: skip


def find_names(scan: Scan) -> Iterator[IdentifierSpan]:
    """Names after a title ("Mr. Kim"), after a cue ("my name is", "patient") and after a known given name."""
    for cue in scan.cues:
        score = _SCORE.get(cue.label)
        if score is None:
            continue
        gap = _LABEL_GAP.match(scan.text, cue.end)
        start = cue.end if gap is None else gap.end()
        if start == cue.end:
            continue
        end, words = _name_from(scan.text, start)
        if words == 0 or (cue.label == "patient" and words < 2):
            continue
        yield IdentifierSpan(Kind.PERSON_NAME, start, end, score + (0.05 if words > 1 else 0.0))
    if scan.folded == scan.text:
        return
    for found in _CAPITALISED.finditer(scan.text):
        if found[0].lower() in GIVEN_NAMES:
            end, words = _name_from(scan.text, found.start())
            if words:
                yield IdentifierSpan(Kind.PERSON_NAME, found.start(), end, 0.7 if words > 1 else 0.5)


def _name_from(text: str, start: int) -> tuple[int, int]:
    """End of the run of capitalised words at `start` and how many there are; particles count only between two."""
    position, end, words = start, start, 0
    for _ in range(_MAX_WORDS + 1):
        found = _WORD.match(text, position)
        if found is None:
            break
        word = found[0]
        if word[0].isupper() and word.lower().rstrip(".'") not in _NOT_NAMES and not (len(word) > 5 and word.isupper()):
            words += 1
            initial = len(word) == 2 and word.endswith(".")
            end = found.end() if initial or not word.endswith(".") else found.end() - 1
            end -= 2 if text[found.start() : end].endswith(("'s", "\u2019s")) else 0
            if end < found.end() and not initial:
                break
        elif not words or word not in _PARTICLES:
            break
        gap = _GAP.match(text, found.end())
        if gap is None or words == _MAX_WORDS:
            break
        position = gap.end()
    return end, words
