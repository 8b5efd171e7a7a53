"""The ways a text may be read. A guard scores each and keeps the worst.

Plain ASCII prose has exactly one reading, and finding that out is cheap.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from itertools import pairwise
from typing import Final

from acgs.governance.text.encodings import CODES, unescape
from acgs.governance.text.folding import RIGHT_TO_LEFT_OVERRIDE, fold_unicode, is_turned, turned
from acgs.governance.text.spelling import undress, without_interleaved, without_numbering

# Compounds (well-known), ordinals (8th) and sizes (400MB) are ordinary; a word cut into pieces of one to three is not.
_SIGN: Final = re.compile(r"[0-9@$!|+_*~^`·\\.\-/&%<'=(\[{:;!?]")
# Matched where a sign stands.
_SUSPICIOUS_SIGN: Final = re.compile(
    r"(?<=[A-Za-z])(?:[0-9@$!|+_*~^`·\\=]+[A-Za-z]|[@$|]|[.\-/]{2,}[A-Za-z]|[.\-/][A-Za-z]{1,3}(?![A-Za-z])"
    r"|[(\[{][A-Za-z]+[)\]}]|[;!?][A-Za-z])"
    r"|[0-9][A-Za-z]{3}|[@$|][A-Za-z]|[(\[{][A-Za-z0-9]{1,2}[)\]}]"
    r"|(?:(?<=[^A-Za-z][A-Za-z])|(?<=[^A-Za-z][A-Za-z]{2})|(?<=[^A-Za-z][A-Za-z]{3})"
    r"|(?<=^[A-Za-z])|(?<=^[A-Za-z]{2})|(?<=^[A-Za-z]{3}))[.\-/:][A-Za-z]"
    r"|&#?\w|%[0-9A-Fa-f]{2}|=[0-9A-Fa-f]{2}=|<[A-Za-z/!]|\\u\{?[0-9a-fA-F]|\\x[0-9a-fA-F]{2}|\\[0-7]{2}"
    r"|['\"`] ?\+ ?['\"`]|(?<=U)\+[0-9a-fA-F]{4}"
    r"|(?<=[A-Za-z])'(?!(?:s|t|d|m|re|ve|ll|all|am|er|em)\b)[A-Za-z]{2}"
)
_SUSPICIOUS_LETTERS: Final = re.compile(
    r"(?<![A-Za-z])[A-Za-z](?:[\s.\-_*,/\\]{1,3}[A-Za-z](?![A-Za-z])){3}"
    r"|([A-Za-z])\1{2}|[a-z][A-Z][a-z]+[A-Z]|[A-Za-z0-9+/]{24}"
)
_SEPARATORS: Final = str.maketrans(dict.fromkeys(".-_*,/\\", " "))
_LOWER_THEN_UPPER: Final = re.compile(r"[a-z][A-Z]")
_LETTERS_IN_A_ROW: Final = tuple(letter * 3 for letter in string.ascii_lowercase)
_DIGIT: Final = re.compile(r"[0-9]")
_LEAST_SHARE: Final = 0.05
"""Share of words that a reading must change to count.

Long posts have links, smileys and typing errors in them; the worst of several readings of these is likelier to be bad
by chance. A disguised sentence in a long text is still read as a passage of its own.
"""
_LONG_RUN: Final = 24
"""Digits of base64 or hexadecimal in a row that may hold a text."""


def readings(text: str) -> list[str]:
    """The text as written (folded), then as it reads undisguised where that differs; no duplicates."""
    folded = fold_unicode(text)
    words = folded.split()
    found = [" ".join(words)]
    if _may_be_disguised(folded):
        unescaped = fold_unicode(unescape(folded))
        undressed = undress(unescaped)
        found += [" ".join(other) for form in (unescaped, undressed) if _differs(other := form.split(), words)]
    found += [rest for rest in (without_interleaved(words), without_numbering(words)) if rest is not None]
    if RIGHT_TO_LEFT_OVERRIDE in text:
        found.append(found[0][::-1])
    if is_turned(text):
        found.append(" ".join(turned(text).split()))
    return list(dict.fromkeys(found))


def _differs(words: list[str], from_words: list[str]) -> bool:
    """Whether enough of the words are others."""
    return (Counter(words) - Counter(from_words)).total() > _LEAST_SHARE * len(words)


def _may_be_disguised(text: str) -> bool:
    """Whether the text has to be undressed at all. Most prose is passed by tests cheaper than the expressions."""
    if any(_SUSPICIOUS_SIGN.match(text, sign.start()) for sign in _SIGN.finditer(text)):
        return True
    if _DIGIT.search(text) and CODES.search(text):
        return True
    if text.count('"') > text.count(" "):
        return True
    lowered = text.lower()
    lengths = [len(word) for word in text.translate(_SEPARATORS).split()]
    return (
        (1, 1) in pairwise(lengths)
        or max(map(len, text.split()), default=0) >= _LONG_RUN
        or _LOWER_THEN_UPPER.search(text) is not None
        or any(row in lowered for row in _LETTERS_IN_A_ROW)
    ) and _SUSPICIOUS_LETTERS.search(text) is not None
