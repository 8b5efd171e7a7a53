"""Immutable name index: which listed names look like this one, in well under a millisecond.

Blocking: character trigrams and sound keys of the words, with inverse document frequency weights, gather the few
names worth a look (cosine similarity). Scoring: words are paired one to one, whatever their order, by Jaro-Winkler
similarity and sound, each weighted by how rare it is on the list; the other half of the score is the edit distance
(optimal string alignment) of the whole name.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA, JaroWinkler

from acgs.governance.domains.finance.sanctions.entity import ListedEntity, SanctionsList
from acgs.governance.domains.finance.sanctions.normalise import name_tokens, sound_key

MATCH_SCORE = 0.9
"""At or above: a match."""
POSSIBLE_SCORE = 0.78
"""At or above: a possible match, for a person to look at. Chosen for at most 1 % of ordinary names at or above it
(`benchmarks/sanctions.py`, other seed)."""

_CANDIDATES = 40
_LEAST_WORD_LIKENESS = 0.78
_SHORT_WORD = 4
_NEAR_THE_BEST = 0.35
# Letters from which one or two slips of the pen leave a name recognisable; shorter names differ by as much in earnest.
_ONE_SLIP_FROM, _TWO_SLIPS_FROM = 5, 11


@dataclass(frozen=True, slots=True)
class NameMatch:
    """A listed name that resembles the one screened; `alias_index` 0 is the party's main name. `score` in 0..1."""

    entity_id: str
    kind: str
    list_name: str
    list_digest: str
    alias_index: int
    score: float


@dataclass(frozen=True, slots=True)
class _Listed:
    entity: ListedEntity
    source: SanctionsList
    alias_index: int
    words: tuple[_Word, ...]
    forms: tuple[str, str]


class _Word(NamedTuple):
    text: str
    sound: str


class SanctionsIndex:
    """Built once from one or more lists; `screen` is safe to call from many threads."""

    def __init__(self, lists: Sequence[SanctionsList]) -> None:
        """Index every name of every party of `lists`."""
        self.lists = tuple(lists)
        self._names = [
            _Listed(entity, source, place, _words(tokens), _forms(tokens))
            for source in lists
            for entity in source.entities
            for place, name in enumerate(entity.names)
            if (tokens := name_tokens(name))
        ]
        postings: dict[str, list[int]] = defaultdict(list)
        words: dict[str, int] = defaultdict(int)
        for number, listed in enumerate(self._names):
            for feature in _features(listed.words):
                postings[feature].append(number)
            for token in {word.text for word in listed.words}:
                words[token] += 1
        total = max(len(self._names), 1)
        norms = np.zeros(total)
        self._postings: dict[str, tuple[float, NDArray[np.int32]]] = {}
        for feature, numbers in postings.items():
            weight = math.log(1 + total / len(numbers))
            array = np.asarray(numbers, dtype=np.int32)
            norms[array] += weight * weight
            self._postings[feature] = (weight * weight, array)
        self._norms = np.sqrt(np.maximum(norms, 1e-9)).astype(np.float32)
        self._rarity = {word: math.log(1 + total / count) for word, count in words.items()}
        self._unseen_rarity = math.log(1 + total)

    def __len__(self) -> int:
        """Number of names, aliases counted."""
        return len(self._names)

    def screen(self, name: str, *, least: float = POSSIBLE_SCORE, limit: int = 5) -> list[NameMatch]:
        """Parties whose names score `least` or more against `name`, best first, each party once."""
        tokens = name_tokens(name)
        if not tokens:
            return []
        words, forms = _words(tokens), _forms(tokens)
        best: dict[str, NameMatch] = {}
        for number in self._candidates(words):
            listed = self._names[number]
            score = self._score(words, forms, listed)
            known = best.get(listed.entity.entity_id)
            if score >= least and (known is None or score > known.score):
                best[listed.entity.entity_id] = NameMatch(
                    listed.entity.entity_id,
                    listed.entity.kind,
                    listed.source.name,
                    listed.source.digest,
                    listed.alias_index,
                    round(score, 4),
                )
        return sorted(best.values(), key=lambda match: (-match.score, match.entity_id))[:limit]

    def _candidates(self, words: tuple[_Word, ...]) -> list[int]:
        found = [self._postings[feature] for feature in _features(words) if feature in self._postings]
        if not found:
            return []
        numbers = np.concatenate([array for _, array in found])
        weights = np.repeat(np.asarray([weight for weight, _ in found]), [len(array) for _, array in found])
        scores = np.bincount(numbers, weights=weights, minlength=len(self._names)) / self._norms
        # Partitioning only what comes near the best avoids sorting thousands of ties at zero.
        near = np.flatnonzero(scores >= _NEAR_THE_BEST * scores.max())
        if len(near) > _CANDIDATES:
            near = near[np.argpartition(scores[near], -_CANDIDATES)[-_CANDIDATES:]]
        return [int(number) for number in near]

    def _score(self, asked: tuple[_Word, ...], forms: tuple[str, str], listed: _Listed) -> float:
        if forms[0] == listed.forms[0]:
            return 1.0
        length = max(len(forms[0]), len(listed.forms[0]))
        allowed = 2 if length >= _TWO_SLIPS_FROM else 1 if length >= _ONE_SLIP_FROM else 0
        slips = min(OSA.distance(mine, theirs) for mine, theirs in zip(forms, listed.forms, strict=True))
        whole = 1 - slips / length
        mixed = 0.5 * self._aligned(asked, listed.words) + 0.5 * whole
        return max(mixed, 0.96 - 0.04 * slips) if slips <= allowed else mixed

    def _aligned(self, asked: tuple[_Word, ...], listed: tuple[_Word, ...]) -> float:
        """Weighted share of the words of both names that have a partner, times how alike the partners are."""
        pairs = sorted(
            (-likeness, left, right)
            for left, mine in enumerate(asked)
            for right, theirs in enumerate(listed)
            if (likeness := _word_likeness(mine, theirs)) >= _LEAST_WORD_LIKENESS
        )
        mine_weights = [self._weight(word.text) for word in asked]
        their_weights = [self._weight(word.text) for word in listed]
        taken_left: set[int] = set()
        taken_right: set[int] = set()
        gained = 0.0
        for negative, left, right in pairs:
            if left not in taken_left and right not in taken_right:
                taken_left.add(left)
                taken_right.add(right)
                gained -= negative * (mine_weights[left] + their_weights[right])
        return gained / (sum(mine_weights) + sum(their_weights))

    def _weight(self, token: str) -> float:
        return self._rarity.get(token, self._unseen_rarity) * min(1.0, 0.25 * len(token))


def _words(tokens: Iterable[str]) -> tuple[_Word, ...]:
    return tuple(_Word(token, sound_key(token)) for token in tokens)


def _forms(tokens: Iterable[str]) -> tuple[str, str]:
    """The name written without spaces, its words sorted and as they stand."""
    tokens = tuple(tokens)
    return "".join(sorted(tokens)), "".join(tokens)


def _features(words: Iterable[_Word]) -> set[str]:
    features = {"=" + word.sound for word in words}
    for word in words:
        padded = f"^{word.text}$"
        features.update(padded[place : place + 3] for place in range(len(padded) - 2))
    return features


def _word_likeness(left: _Word, right: _Word) -> float:
    if left.text == right.text:
        return 1.0
    if len(left.text) == 1 or len(right.text) == 1:
        # An initial stands for its word, but weakly.
        return 0.8 if left.text[0] == right.text[0] else 0.0
    spelling = JaroWinkler.similarity(left.text, right.text)
    if min(len(left.text), len(right.text)) < _SHORT_WORD:
        return spelling if spelling >= 0.9 else 0.0
    return max(spelling, 0.94) if left.sound == right.sound and spelling >= 0.7 else spelling
