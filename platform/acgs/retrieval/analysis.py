"""How text becomes index terms: words cut at identifier borders, without stop words, stemmed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import Stemmer
from bm25s.stopwords import STOPWORDS_EN

VERSION: Final = 2
"""Raised with every change of the terms: an index made by another version is refused."""

_RUN: Final = re.compile(r"\w+")
_PART: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
"""Parts of an identifier: `HTTPServer` is HTTP and Server, `read_line2` is read, line and 2."""
_FOREIGN_PART: Final = re.compile(r"[^\W\d_]+|\d+")
"""Of a word with letters beyond ASCII: it is not cut at capitals, so that `Überprüfung` stays whole."""
_STOP: Final = frozenset(STOPWORDS_EN)
_stemmer: Final = Stemmer.Stemmer("english")


def terms(text: str) -> list[str]:
    """Stemmed terms in their order; an identifier of several parts counts as its parts and as a whole."""
    found: list[str] = []
    for run in _RUN.findall(text if text.isascii() else unicodedata.normalize("NFKC", text)):
        parts = (_PART if run.isascii() else _FOREIGN_PART).findall(run)
        found.extend(part.lower() for part in parts)
        if len(parts) > 1:
            found.append(run.lower())
    kept = [word for word in found if word not in _STOP]
    return list(_stemmer.stemWords(kept))


def pairs(words: Sequence[str]) -> list[str]:
    """Neighbouring terms as one, which tells phrases from scattered words."""
    return [f"{first} {second}" for first, second in pairwise(words)]
