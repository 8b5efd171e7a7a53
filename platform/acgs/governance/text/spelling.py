"""Undoing how people spell past a filter: letters set apart, leetspeak, signs inside words, stretched letters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

_LEET: Final = str.maketrans("0123456789@$!|+€", "oizeasgtbgasilte")

# Counts are bounded: an open one would take quadratic time on a long word.
_DISGUISED_WORD: Final = re.compile(r"[A-Za-z][0-9@$!|+€]{1,8}[A-Za-z]|\b[0-9@$!|]{1,8}[A-Za-z]{3}|[A-Za-z]{2}[@$|]")
_SPACED_LETTERS: Final = re.compile(r"(?<![^\W_])(?:[^\W_][\s.\-_*·,/\\+=:|]{1,3}){3,}[^\W_](?![^\W_])")
_SIGN_BETWEEN: Final = re.compile(r"[^\W_][.\-_*·,/\\+=:|][^\W_]")
_INNER_PUNCTUATION: Final = re.compile(r"(?<=[A-Za-z])[.\-_*·~^'\"`|,/\\()\[\]{}+=;:!?]+(?=[A-Za-z])")
_WRAPPED_LETTER: Final = re.compile(r"[(\[{]([A-Za-z])[)\]}]")
_NUMBER: Final = re.compile(r"\(?[0-9]{1,2}[.):]")
_STRETCHED: Final = re.compile(r"([A-Za-z])\1{2,}")
_QUOTE_SIGNS: Final = re.compile(r"[\"'`]\s*\+\s*[\"'`]|[\"`]")
"""Also where a program joins strings."""
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FREQUENT: Final = 0.2
_INTERLEAVED: Final = 0.3
"""Share of one word, and of all such words together, from which on they were put between the others."""
_FEWEST_WORDS: Final = 8


def undress(text: str) -> str:
    """Leetspeak, set-apart letters, words run together, punctuation inside words, stretched letters, all undone."""
    text = _WRAPPED_LETTER.sub(r"\1", _QUOTE_SIGNS.sub("", text))
    text = _SPACED_LETTERS.sub(_join_spaced, text)
    if _DISGUISED_WORD.search(text):
        words = text.split(" ")
        text = " ".join(w.translate(_LEET) if any(c.isalpha() for c in w) else w for w in words)
    text = _INNER_PUNCTUATION.sub("", text)
    text = " ".join(_HUMP.sub(" ", w) if len(_HUMP.findall(w)) > 1 else w for w in text.split(" "))
    return _STRETCHED.sub(r"\1", text)


def without_interleaved(words: Sequence[str]) -> str | None:
    """The text without words that were put between all the others; None where there are none."""
    if len(words) < _FEWEST_WORDS:
        return None
    counts = Counter(words).most_common(int(1 / _FREQUENT))
    frequent = {word: count for word, count in counts if count >= _FREQUENT * len(words)}
    total = sum(frequent.values())
    if total < _INTERLEAVED * len(words) or total == len(words):
        return None
    return " ".join(word for word in words if word not in frequent)


def without_numbering(words: Sequence[str]) -> str | None:
    """The text without numbers that count its pieces; None where there are few."""
    rest = [word for word in words if not _NUMBER.fullmatch(word)]
    return " ".join(rest) if 0 < len(rest) <= (1 - _FREQUENT) * len(words) else None


def _join_spaced(match: re.Match[str]) -> str:
    """Join letters set apart; a gap wider than the rest ends a word, or any space where a sign sets them apart."""
    run = match[0]
    words = run.split() if _SIGN_BETWEEN.search(run) else re.split(r"\s{2,}", run)
    return " ".join("".join(c for c in word if c.isalnum()) for word in words)
