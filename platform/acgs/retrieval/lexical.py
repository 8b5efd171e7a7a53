"""The lexical leg: BM25 over stemmed terms, and what the terms say of single candidates.

Scores of every (term, document) pair are worked out when the index is built (bm25s, Lu 2024, with Lucene's idf), so a
query adds up postings. The arrays lie in plain `.npy` files and are memory-mapped; so is the vocabulary, as one number
a word, because a dictionary of all pairs of words would outweigh all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import bm25s
import numpy as np
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.retrieval.analysis import pairs, terms

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

PAIR_K1: Final = 1.2
PAIR_B: Final = 0.4
"""Pairs of terms are rare, so their number in a document says less of its length than of its subject."""


@dataclass(frozen=True, slots=True)
class Postings:
    """BM25 scores by term, as compressed columns over documents."""

    data: Singles
    """(postings,) score of the term in the document"""
    indices: Ints
    """(postings,) document numbers, ascending within a term"""
    starts: NDArray[np.int64]
    """(terms + 1,) where each term's postings begin"""
    keys: NDArray[np.uint64]
    """(terms,) `word_keys`, rising; a term's number is its place"""
    documents: int

    def known(self, words: Sequence[str]) -> list[int]:
        """Numbers of the words that occur in the corpus; a repeated word counts again."""
        if not len(self.keys):
            return []
        asked = word_keys(words)
        places = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        found: list[int] = places[self.keys[places] == asked].tolist()
        return found

    def scores(self, numbers: Sequence[int]) -> Singles:
        """Summed scores of all documents, shape (documents,)."""
        total = np.zeros(self.documents, dtype=np.float32)
        for number in numbers:
            begin, end = self.starts[number], self.starts[number + 1]
            # A document stands at most once among a term's postings, so plain indexing adds correctly.
            total[self.indices[begin:end]] += self.data[begin:end]
        return total

    def of_candidates(self, numbers: Sequence[int], candidates: Ints) -> Singles:
        """Scores of each term in each candidate, shape (terms, candidates); 0 where it does not occur."""
        asked = np.asarray(numbers, dtype=np.int64)
        begins, ends = self.starts[asked], self.starts[asked + 1]
        places = np.zeros((len(asked), len(candidates)), dtype=np.int64)
        for row, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
            places[row] = self.indices[begin:end].searchsorted(candidates)
        # Where no holder follows, the last one is looked at, which is none of the candidates.
        places = np.minimum(places + begins[:, None], ends[:, None] - 1)
        return np.where(self.indices[places] == candidates, self.data[places], np.float32(0))


def word_keys(words: Sequence[str]) -> NDArray[np.uint64]:
    """First 8 bytes of each word's BLAKE2b, shape (words,): of a million words two share a key once in 40 million."""
    digests = b"".join(blake2b(word.encode(), digest_size=8).digest() for word in words)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def build_postings(texts: Sequence[Sequence[str]], k1: float, b: float) -> Postings:
    """Index analysed texts with BM25's saturation k1 and length normalisation b."""
    # Numbered here, by their keys: bm25s numbers words as a set yields them, differently in each process.
    words = sorted({word for text in texts for word in text})
    keys = np.unique(word_keys(words))
    if not words:
        return Postings(np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(1, np.int64), keys, len(texts))
    numbers = dict(zip(words, np.searchsorted(keys, word_keys(words)).tolist(), strict=True))
    index: Any = bm25s.BM25(k1=k1, b=b, method="lucene")
    numbered = [[numbers[word] for word in text] for text in texts]
    index.index((numbered, numbers), create_empty_token=False, show_progress=False)
    found = index.scores
    data, indices, starts = found["data"], found["indices"], found["indptr"].astype(np.int64)
    order = np.lexsort((indices, np.repeat(np.arange(len(starts) - 1), np.diff(starts))))
    return Postings(data[order].astype(np.float32), indices[order].astype(np.int32), starts, keys, len(texts))


@dataclass(frozen=True, slots=True)
class LexicalLeg:
    """Postings of terms and of neighbouring pairs, with what is worked out from them once."""

    words: Postings
    pairs: Postings
    norms: Singles
    """(documents,) Euclidean length of each document's term scores"""
    idf: Singles
    """(terms,) ln(1 + (N - df + .5) / (df + .5))"""

    def analyse(self, query: str) -> LexicalQuery:
        """The query's terms that the corpus knows.

        Raises:
            InvalidInputError: the query is no text: it holds halves of characters.
        """
        try:
            query.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError("the query is not Unicode text", field="query") from error
        words = terms(query)
        return LexicalQuery(self.words.known(words), self.pairs.known(pairs(words)))


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A query as term numbers."""

    words: list[int]
    pairs: list[int]


def build_leg(contents: Sequence[str], k1: float, b: float) -> LexicalLeg:
    """Index documents by their contents."""
    texts = [terms(content) for content in contents]
    return derive(build_postings(texts, k1, b), build_postings([pairs(text) for text in texts], PAIR_K1, PAIR_B))


def derive(words: Postings, neighbours: Postings) -> LexicalLeg:
    """A leg from its postings."""
    squares = np.bincount(words.indices, weights=words.data.astype(np.float64) ** 2, minlength=words.documents)
    frequency = np.diff(words.starts).astype(np.float64)
    idf = np.log1p((words.documents - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    return LexicalLeg(words, neighbours, np.sqrt(squares).astype(np.float32), idf)
