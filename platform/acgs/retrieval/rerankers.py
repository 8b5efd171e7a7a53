"""Two rerankers over the first candidates: a cheap one on what the first stage knows, a full one with late interaction.

Both are linear in features that are standardised within the query's candidates. The weights are learned with the
listwise softmax loss (ListNet's top-one form, Cao et al. 2007), pulled towards the first stage's own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from acgs.errors import InvalidInputError
from acgs.retrieval.late_interaction import MATCHES
from acgs.retrieval.lexical import LexicalLeg, LexicalQuery
from acgs.retrieval.neighbours import NEIGHBOUR_FEATURES, neighbour_features
from acgs.retrieval.vectors import best

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

CHEAP_FEATURES: Final = (
    "fused",
    "lexical",
    "dense",
    "both",
    "pairs",
    "coverage",
    "cosine",
    "rare_terms",
    *NEIGHBOUR_FEATURES,
)
"""fused, lexical, dense: first-stage scores; both: the lower of the legs' scores, each scaled to its highest among the
candidates; pairs: BM25 of neighbouring terms; coverage: share of the query's squared idf that the document holds;
cosine: BM25 over the document's length in term space; rare_terms: BM25 weighted by idf."""
FULL_FEATURES: Final = (*CHEAP_FEATURES, *MATCHES)
"""With late interaction."""

PRIOR: Final[dict[str, float]] = {"fused": 1.4, "match": 0.5}
"""What the weights are pulled to: the first stage's order, with some late interaction where there is any."""
QUERY_TERMS: Final = 64
"""Of longer queries the rarest terms and the first pairs count: cost grows with them."""


def cheap_features(
    leg: LexicalLeg,
    query: LexicalQuery,
    candidates: Ints,
    *,
    vectors: Singles,
    fused: Singles,
    lexical: Singles,
    dense: Singles,
) -> Singles:
    """Features of `CHEAP_FEATURES`, shape (candidates, 11).

    Args:
        candidates: document numbers, of the best fused score first.
        vectors: (candidates, width), of length 1.
        fused, lexical, dense: scores of the candidates in the same order.
    """
    words = _rarest(query.words, leg.idf)
    held = leg.words.of_candidates(words, candidates)
    idf = leg.idf[words]
    squared = idf * idf
    total = float(squared.sum())
    columns = (
        fused,
        lexical,
        dense,
        np.minimum(_scaled(lexical, 0.0), _scaled(dense, float(dense.min(initial=0.0)))),
        leg.pairs.of_candidates(query.pairs[:QUERY_TERMS], candidates).sum(axis=0),
        squared @ (held > 0) / total if total > 0 else 0.0,
        lexical / np.maximum(leg.norms[candidates], np.float32(1e-9)),
        idf @ held,
        *neighbour_features(vectors, fused).T,
    )
    found = np.empty((len(CHEAP_FEATURES), len(candidates)), dtype=np.float32)
    for row, column in zip(found, columns, strict=True):
        row[:] = column
    return found.T


def _rarest(words: Sequence[int], idf: Singles) -> list[int]:
    """The rarest of a query's terms, in their order."""
    if len(words) <= QUERY_TERMS:
        return list(words)
    return [words[place] for place in np.sort(best(idf[list(words)], QUERY_TERMS))]


def _scaled(scores: Singles, floor: float) -> Singles:
    """Scores as parts of their span above `floor`; a leg without spread is 0."""
    span = float(scores.max(initial=floor)) - floor
    return (scores - np.float32(floor)) / np.float32(span) if span > 0 else np.zeros_like(scores)


def standardise(features: Singles) -> Singles:
    """Columns with mean 0 and deviation 1 over the rows; a column without spread is 0."""
    rows = np.float32(len(features))
    centred = features - np.add.reduce(features, axis=0) / rows
    deviation = np.sqrt(np.einsum("cf,cf->f", centred, centred) / rows)
    scaled: Singles = (centred / np.where(deviation > 1e-9, deviation, 1.0)).astype(np.float32)
    return scaled


@dataclass(frozen=True, slots=True)
class ListwiseExample:
    """One query's candidates, with their features and grades."""

    features: Singles
    """(candidates, features)"""
    grades: Floats
    """(candidates,) gain of each, 0 where it is not relevant"""


def learn_weights(examples: Sequence[ListwiseExample], names: Sequence[str], *, shrinkage: float) -> Floats:
    """Weights of least listwise softmax loss plus `shrinkage` times the squared distance to the prior, (features,).

    Queries without a relevant candidate teach nothing and are left out; where none is left the prior is returned.

    Raises:
        InvalidInputError: shrinkage is not above 0, which is what makes the answer unique.
    """
    if shrinkage <= 0:
        raise InvalidInputError("shrinkage must be above 0", field="shrinkage")
    prior = np.array([PRIOR.get(name, 0.0) for name in names])
    taught = [item for item in examples if item.grades.sum() > 0]
    if not taught:
        return prior
    features, target, starts = _joined(taught)
    lengths = np.diff(starts, append=len(target))

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = features @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, starts), lengths)
        chances = np.exp(scores)
        mass = np.repeat(np.add.reduceat(chances, starts), lengths)
        away = weights - prior
        likelihood = target @ (scores - np.log(mass)) / len(taught)
        slope = (chances / mass - target) @ features / len(taught)
        return float(-likelihood + shrinkage * away @ away), slope + 2 * shrinkage * away

    found: Floats = minimize(loss, prior, jac=True, method="L-BFGS-B").x
    return found


def _joined(examples: Sequence[ListwiseExample]) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Features (all candidates, features), target shares (all candidates,), and where each query's begin."""
    features = np.concatenate([item.features for item in examples]).astype(np.float64)
    target = np.concatenate([item.grades / item.grades.sum() for item in examples])
    lengths = np.array([len(item.grades) for item in examples])
    return features, target, np.cumsum(lengths) - lengths
