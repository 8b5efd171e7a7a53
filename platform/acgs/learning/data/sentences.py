"""Sentences with their exact places, and the words of a text that carry content."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

_SENTENCE: Final = re.compile(r"\S.*?(?:[.!?]+[\"'\u2019\u201d)\]]*(?=\s|\Z)|(?=\n)|\Z)", re.DOTALL)
_WORD: Final = re.compile(r"\w+")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of every sentence, without the space between them; a line's end ends a sentence too."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def sentences(text: str) -> list[str]:
    """The sentences themselves."""
    return [text[start:end] for start, end in sentence_spans(text)]


def content_words(text: str) -> Counter[str]:
    """How often each word occurs, case folded, without the stop words of English."""
    return Counter(word for word in _WORD.findall(text.casefold()) if word not in ENGLISH_STOP_WORDS)
