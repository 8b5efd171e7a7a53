"""Late interaction over quantised token states (ColBERT, Khattab and Zaharia 2020; here without its training).

States are projected on the corpus' first components and kept as int8 with one scale a token. A query token's best match
counts within the whole document and within its beginning, where titles, signatures and summaries stand; and a document
token's best match counts, which tells a document about the query's subject from one that mentions it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
from numkong import PackedMatrix, dots_pack, dots_packed
from numpy.typing import NDArray

from acgs.retrieval.vectors import best

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

DIMENSIONS: Final = 128
"""Kept components of 768: 96, 128 and 192 rank alike on the development queries, and cost grows with them."""
QUERY_TOKENS: Final = 32
"""Of longer queries the rarest tokens are matched, as many as ColBERT's queries have."""
DOCUMENT_TOKENS: Final = 96
"""Of longer documents the first tokens are matched: all of them rank no better on the development queries, and the cost
of a candidate would grow with its length."""
LEADS: Final = (16, 32)
"""Tokens that are a document's beginning."""
MATCHES: Final = ("match", *(f"match_first{lead}" for lead in LEADS), "match_back")
"""Mean best match of the query's tokens in the document and in its first tokens; of the document's in the query."""
_LEVELS: Final = 127
_SHORTEST: Final = np.float32(1e-12)
"""Length below which single precision has lost a state's direction."""


@dataclass(frozen=True, slots=True)
class TokenStates:
    """Token states of all documents."""

    projection: Singles
    """(state width, dimensions)"""
    values: NDArray[np.int8]
    """(tokens, dimensions)"""
    scales: Singles
    """(tokens,) a value times its scale is the state's coordinate; states have length 1"""
    starts: NDArray[np.int64]
    """(documents + 1,)"""
    rarity: Singles
    """(word pieces,) inverse document frequency"""

    def query(self, states: Singles, pieces: Ints) -> QueryTokens:
        """A query's states as the documents' are kept: the rarest, in their order."""
        if len(pieces) > QUERY_TOKENS:
            states = states[np.sort(best(self.rarity[pieces], QUERY_TOKENS))]
        values, scales = quantise(states @ self.projection)
        return QueryTokens(dots_pack(values) if len(values) else None, scales)

    def match(self, query: QueryTokens, candidates: Ints) -> Singles:
        """Matches of `MATCHES`, shape (candidates, 4).

        A document without tokens, or a query without, matches nothing: 0.
        """
        begins = self.starts[candidates]
        ends = np.minimum(self.starts[candidates + 1], begins + DOCUMENT_TOKENS)
        matches = np.zeros((len(candidates), len(MATCHES)), dtype=np.float32)
        held = np.flatnonzero(ends > begins)
        if not len(held) or query.packed is None:
            return matches
        lengths = (ends - begins)[held]
        firsts = np.cumsum(lengths) - lengths
        rows = np.repeat(begins[held] - firsts, lengths) + np.arange(lengths.sum())
        # Whole numbers, so the result is the same on every processor. A query token a row: reductions along rows are
        # ten times as fast as across them.
        products = np.asarray(dots_packed(self.values.take(rows, axis=0), query.packed)).T.astype(np.float32, order="C")
        products *= self.scales.take(rows)
        products *= query.scales[:, None]
        pieces = np.maximum.reduceat(products, _cuts(firsts, lengths), axis=1).reshape(-1, len(held), len(LEADS) + 1)
        *begun, whole = (matched.mean(axis=0) for matched in accumulate(np.moveaxis(pieces, 2, 0), np.maximum))
        matches[held, 0] = whole
        for column, (lead, matched) in enumerate(zip(LEADS, begun, strict=True), start=1):
            # A shorter document is its own beginning.
            matches[held, column] = np.where(lengths <= lead, whole, matched)
        matches[held, -1] = np.add.reduceat(products.max(axis=0), firsts) / lengths
        return matches


@dataclass(frozen=True, slots=True)
class QueryTokens:
    """A query's token states, quantised like the documents'; `packed` is None where it has none."""

    packed: PackedMatrix | None
    scales: Singles


def _cuts(firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each document and the pieces between its leads begin, shape (documents * (leads + 1),)."""
    # Cut within the document: `reduceat` knows no empty pieces.
    return np.stack([firsts, *(firsts + np.minimum(lead, lengths - 1) for lead in LEADS)], axis=1).ravel()


def fit_projection(states: Singles) -> Singles:
    """Components of a sample of states, largest variance first, shape (state width, min(DIMENSIONS, width))."""
    _, components = np.linalg.eigh(states.T.astype(np.float64) @ states)
    return components[:, ::-1][:, :DIMENSIONS].astype(np.float32)


def quantise(states: Singles) -> tuple[NDArray[np.int8], Singles]:
    """States scaled to length 1, as int8 with a scale each; a state too short to have a direction becomes zeros."""
    lengths = np.sqrt(np.einsum("tw,tw->t", states, states))
    steps = np.maximum(np.abs(states).max(axis=1, initial=0.0), _SHORTEST) / np.float32(_LEVELS)
    values = np.rint(states / steps[:, None]).astype(np.int8)
    values[lengths <= _SHORTEST] = 0
    return values, steps / np.maximum(lengths, _SHORTEST)


def piece_rarity(pieces: Ints, starts: NDArray[np.int64], vocabulary: int) -> Singles:
    """Inverse document frequency of every word piece, shape (vocabulary,): ln(1 + (N - df + .5) / (df + .5))."""
    documents = len(starts) - 1
    owner = np.repeat(np.arange(documents, dtype=np.int64), np.diff(starts))
    held = np.unique(owner * vocabulary + pieces) % vocabulary
    frequency = np.bincount(held, minlength=vocabulary)
    rarity: Singles = np.log1p((documents - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    return rarity
