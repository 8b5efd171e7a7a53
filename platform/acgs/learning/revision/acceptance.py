"""What makes a revision unfit as training data, and what counts as a refusal."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Final

from acgs.learning.revision.assessment import Assessment
from acgs.learning.revision.chain import DropReason

_FEWEST_WORDS: Final = 3
_SHORTEST_SHARE: Final = 0.2
"""Of the response's words; what is shorter threw the content away."""
_MOST_SIMILAR: Final = 0.99
"""Share of matching words from which a revision teaches nothing."""

_LEAK: Final = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course|okay|ok)\b\W+)?"
    r"(?:(?:here(?:'|\u2019)?s?(?: is)?|this is|below is|the following is)\b"
    r".{0,40}?\b(?:revis|rewrit|rewrote|edited)\w*"
    r"|(?:my |the )?(?:revised|rewritten|edited) (?:response|answer|version|text)\b"
    r"|(?:critique|revision)(?: ?request)?\s*:)",
    re.IGNORECASE | re.DOTALL,
)
_REFUSAL: Final = re.compile(
    r"\A\W*(?:(?:i(?:'|\u2019)?m| i am|i am|we(?:'|\u2019)?re|we are)\s+(?:very |really |so )?(?:sorry|afraid|unable)"
    r"|(?:i|we)\s+(?:can(?:'|\u2019)?t|can ?not|won(?:'|\u2019)?t|will not|must decline|am not able|apologi[sz]e)"
    r"|as an ai\b|my apologies|sorry\b|no, (?:i|we) can)",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a response opens as a refusal. What refuses in the middle is not found."""
    return bool(_REFUSAL.match(text))


def leaks_prefix(text: str) -> bool:
    """Whether a revision talks about itself, as in 'Here is a revised response'."""
    return bool(_LEAK.match(text))


def unfit(before: str, after: str) -> DropReason | None:
    """The first formal fault of a revision, whatever it says."""
    old, new = before.split(), after.split()
    if len(new) < max(_FEWEST_WORDS, _SHORTEST_SHARE * len(old)):
        return "too_short"
    if leaks_prefix(after):
        return "leaked_prefix"
    if SequenceMatcher(None, old, new, autojunk=False).ratio() >= _MOST_SIMILAR:
        return "too_similar"
    return None


def better(after: Assessment, before: Assessment) -> bool:
    """Compliance first, then fewer breaching sentences, then the score."""
    return _rank(after) > _rank(before)


def _rank(assessment: Assessment) -> tuple[bool, int, float]:
    return assessment.compliant, -len(assessment.findings), assessment.score
