"""Finding what is wrapped in harmless words: sentences and quotations, and the text without a list of principles.

A mean over many words can hide a few. So a long text complies only if none of its passages alone would violate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

LONG: Final = 256
"""Characters from which a text is also read passage by passage; shorter ones only where something is quoted."""
DISCOUNT: Final = 2.0
"""Logits taken off a passage, because the worst of many is likelier to be bad by chance.

On held-out posts a smaller discount costs more compliant texts than it finds wrapped violations.
"""
_FEWEST_WORDS: Final = 3
_SHORT: Final = 6
"""Parts of fewer words are also read joined with the short parts beside them: a sentence may be cut anywhere."""
_UNDIVIDED: Final = 64
"""Words without a mark between them from which on a stretch is no sentence, and is read window by window."""
_WINDOW: Final = 8
_STRIDE: Final = 4
"""Words of a window, and between the beginnings of two."""
_LISTED_NAMES: Final = 3
"""From so many on, names of principles are a list and no part of a sentence."""

_QUOTE: Final = re.compile(r"[\"«»“”„`]")
_BOUNDARY: Final = re.compile(r"(?<=[.!?;:])\s+|[\r\n]+|[\"«»“”„`|•]+")
_EDGES: Final = " \t'\"\u2018\u2019«»“”„`*_-()[]{}<>.,;:"


def passages(text: str) -> list[str]:
    """The passages of a long or quoting text, each of three words or more; none where the text is all one passage."""
    if len(text) < LONG and not _QUOTE.search(text):
        return []
    parts = [words for part in _BOUNDARY.split(text) if (words := part.strip(_EDGES).split())]
    stretches = [*parts, *_joined(parts)]
    whole = text.strip(_EDGES).split()
    found = [words for words in stretches if words != whole]
    found += [window for words in stretches for window in _windows(words)]
    return list(dict.fromkeys(" ".join(words) for words in found if len(words) >= _FEWEST_WORDS))


def _joined(parts: Sequence[list[str]]) -> Iterator[list[str]]:
    """Runs of short parts, each as one."""
    for short, run in groupby(parts, key=lambda part: len(part) < _SHORT):
        together = list(run)
        if short and len(together) > 1:
            yield [word.strip(_EDGES) for part in together for word in part]


def _windows(words: list[str]) -> Iterator[list[str]]:
    """What lies within a stretch too long for a sentence; nothing of a shorter one."""
    if len(words) > _UNDIVIDED:
        for start in range(0, len(words) - _STRIDE, _STRIDE):
            yield words[start : start + _WINDOW]


class PrincipleNames:
    """Knows the names of principles, to read a text without a list of them."""

    def __init__(self, identifiers: Sequence[str]) -> None:
        """`identifiers` as in the constitution, words joined by underscores."""
        names = "|".join(re.escape(name).replace("_", r"[\s_-]+") for name in identifiers)
        self._name = re.compile(rf"(?<!\w)(?:{names})(?!\w)[\s,;]*", re.IGNORECASE)

    def without(self, text: str) -> str | None:
        """The text without the names, or None where it lists none or nothing else."""
        rest, count = self._name.subn("", text)
        return rest if count >= _LISTED_NAMES and rest.strip(_EDGES) else None
