"""Names of persons by title, by the words before them, and by a known given name. Scores are low on purpose.

No pattern finds all names: measured recall is in `benchmarks/pii.py`. A statistical recognizer may be added beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.given_names import GIVEN_NAMES
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

_WORD = re.compile(r"[^\W\d_](?:[\w'’`-]{0,38}[^\W_]|\.)?")
_GAP = re.compile(r"\.?[ \t]{1,2}")
_LABEL_GAP = re.compile(r"\.?[ \t]{0,2}(?:[:,][ \t]{0,2})?(?:is[ \t])?\n{0,2}")
_CAPITALISED = re.compile(r"(?<![\w@.'’])[^\W\d_a-z][\w'’]{2,20}(?![\w@])")
_PARTICLES = frozenset("de da do dos van von der den del della la le bin ibn al el af av ter of".split()) - {"of"}
_SCORE = {"title": 0.8, "patient": 0.65, "name": 0.6}
_MAX_WORDS = 4
# Capitalised words that follow a cue without being a name.
_NOT_NAMES = frozenset(
    """
    a an the i we you he she it they my your his her its our their this that these those and or but if so as at by for
    from in of on to with not no yes please thanks thank hello hi dear sir madam is are was were be been do does did can
    could would should will shall may might must how what when where which who why data privacy portal care safety rights
    consent records record history id number name date address phone email health hospital clinic medical information
    information services service team department office university college school bank company group inc corp ltd llc
    street road avenue monday tuesday wednesday thursday friday saturday sunday january february march april june july
    august september october november december english french german spanish american british all any everyone there
    just still also here very so now then united new north south east west
    """.split()
)


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
            end -= 2 if text[found.start() : end].endswith(("'s", "’s")) else 0
            if end < found.end() and not initial:
                break
        elif not words or word not in _PARTICLES:
            break
        gap = _GAP.match(text, found.end())
        if gap is None or words == _MAX_WORDS:
            break
        position = gap.end()
    return end, words
