"""One text under search: folded once, its cue words found once, its cheap prefilters answered once."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from acgs.governance.domains.identifiers.cues import CUES
from acgs.governance.domains.phrases import PhraseHit, fold

_DIGIT = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True)
class Scan:
    """A text with what every recognizer needs: `folded` has the same length, `cues` are in order of their end."""

    text: str
    folded: str
    cues: list[PhraseHit]
    cue_ends: list[int]
    has_digit: bool

    @classmethod
    def of(cls, text: str) -> Scan:
        """Prepare `text`."""
        folded = fold(text)
        cues = CUES.find(folded)
        return cls(text, folded, cues, [cue.end for cue in cues], _DIGIT.search(text) is not None)

    def cue_before(self, position: int, labels: frozenset[str], reach: int) -> PhraseHit | None:
        """The nearest cue with one of `labels` that ends at most `reach` characters before `position`."""
        for index in range(bisect_right(self.cue_ends, position) - 1, -1, -1):
            cue = self.cues[index]
            if position - cue.end > reach:
                return None
            if cue.label in labels:
                return cue
        return None

    def cue_after(self, position: int, labels: frozenset[str], reach: int) -> PhraseHit | None:
        """The nearest cue with one of `labels` that starts at most `reach` characters after `position`."""
        for index in range(bisect_right(self.cue_ends, position), len(self.cues)):
            cue = self.cues[index]
            if cue.start - position > reach:
                return None
            if cue.label in labels and cue.start >= position:
                return cue
        return None
