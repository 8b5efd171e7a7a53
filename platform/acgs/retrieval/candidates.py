"""The candidates of a query: what the words find and what lies near, with both scores of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acgs.retrieval.vectors import best

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Documents in ascending order of their numbers."""

    numbers: Ints
    lexical: Singles
    dense: Singles
    floor: float
    """Lowest score that the dense leg returned."""


def found_by_words(by_words: Singles, topk: int) -> Ints:
    """The `topk` documents of highest BM25, best first, as far as they hold a word of the query.

    Args:
        by_words: (documents,)
    """
    leaders = best(by_words, topk)
    return leaders[by_words[leaders] > 0]


def of_both_legs(by_words: Singles, near: Ints, query: Singles, vectors: Singles, topk: int) -> Candidates:
    """What the words find together with the documents `near`, each scored by both legs.

    Args:
        by_words: (documents,) BM25
        query: (width,)
        vectors: (documents, width)
    """
    numbers = np.union1d(found_by_words(by_words, topk), near).astype(np.int32)
    dense = vectors[numbers] @ query
    floor = float(dense[np.searchsorted(numbers, near)].min()) if len(near) else 0.0
    return Candidates(numbers, by_words[numbers], dense, floor)
