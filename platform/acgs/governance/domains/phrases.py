"""Phrase search in one pass: Aho-Corasick over folded text, whole words only, with negation scope.

Negation follows the NegEx idea (Chapman et al., 2001, J. Biomed. Inform. 34:301-310): a negation cue up to six
words before a phrase, with no sentence end or contrast word between, turns it round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ahocorasick

NEGATION_REACH = 48
"""Characters before a phrase in which a negation cue counts: about six English words."""

_NEGATION = re.compile(
    r"\b(?:no|not|non|never|without|neither|nor|none|cannot|lacks?|lacking|exempt from|free of|absence of|denies|denied"
    r"|isn't|aren't|wasn't|weren't|doesn't|don't|didn't|won't)\b[^.;!?\n]*\Z"
)
_CONTRAST = re.compile(r"\b(?:but|however|although|though|except|yet|only|just)\b")


@dataclass(frozen=True, slots=True)
class PhraseHit:
    """One phrase found: its label and its place in the text (half open, code points)."""

    label: str
    start: int
    end: int


def fold(text: str) -> str:
    """Lower-case `text` and straighten its apostrophes without changing its length, so that offsets stay valid."""
    lowered = text.lower().replace("\u2019", "'")
    if len(lowered) == len(text):
        return lowered
    # A few characters (such as U+0130) grow when lowered; those stay as they are.
    kept = "".join(low if len(low := character.lower()) == 1 else character for character in text)
    return kept.replace("\u2019", "'")


class PhraseBook:
    """An immutable set of labelled phrases; `find` returns whole-word hits in order of their end."""

    def __init__(self, phrases: Mapping[str, Iterable[str]]) -> None:
        """Compile `phrases`, given as label -> phrases; a phrase may stand under several labels."""
        labels: dict[str, list[str]] = {}
        for label, group in phrases.items():
            for phrase in group:
                labels.setdefault(fold(phrase), []).append(label)
        self._automaton = ahocorasick.Automaton()
        for phrase, names in labels.items():
            self._automaton.add_word(phrase, (tuple(names), len(phrase)))
        self._automaton.make_automaton()

    def find(self, folded: str) -> list[PhraseHit]:
        """Whole-word hits in text that went through `fold`; of phrases with the same end only the longest counts."""
        hits: list[PhraseHit] = []
        size = len(folded)
        previous_end = -1
        # Not iter_long: it drops the shorter rival of a long phrase that the word borders rule out.
        for last, (labels, length) in self._automaton.iter(folded):
            end = last + 1
            start = end - length
            if end == previous_end or (end < size and folded[end].isalnum() and folded[last].isalnum()):
                continue
            if start > 0 and folded[start - 1].isalnum() and folded[start].isalnum():
                continue
            previous_end = end
            hits.extend(PhraseHit(label, start, end) for label in labels)
        return hits

    def affirmed(self, folded: str) -> set[str]:
        """Labels with at least one hit that no negation reaches."""
        return {hit.label for hit in self.find(folded) if not is_negated(folded, hit.start)}


def is_negated(folded: str, start: int) -> bool:
    """True when a negation cue governs the phrase that starts at `start`."""
    before = folded[max(0, start - NEGATION_REACH) : start]
    found = _NEGATION.search(before)
    return found is not None and _CONTRAST.search(before, found.start()) is None
