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
from acgs.retrieval.lexical import LexicalLeg, LexicalQuery

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

CHEAP_FEATURES: Final = ("fused", "lexical", "dense", "pairs", "coverage", "cosine", "rare_terms")
"""fused, lexical, dense: first-stage scores; pairs: BM25 of neighbouring terms; coverage: share of the query's squared
idf that the document holds; cosine: BM25 over the document's length in term space; rare_terms: BM25 weighted by idf."""
FULL_FEATURES: Final = (*CHEAP_FEATURES, "match", "rare_match")
"""match, rare_match: late interaction, evenly and by rarity."""

PRIOR: Final[dict[str, float]] = {"fused": 1.4, "rare_match": 0.5}
"""What the weights are pulled to: the first stage's order, with some late interaction where there is any."""


def cheap_features(
    leg: LexicalLeg, query: LexicalQuery, candidates: Ints, *, fused: Singles, lexical: Singles, dense: Singles
) -> Singles:
    """Standardised features of `CHEAP_FEATURES`, shape (candidates, 7)."""
    held = leg.words.of_candidates(query.words, candidates)
    idf = leg.idf[query.words]
    squared = idf * idf
    total = float(squared.sum())
    columns = [
        fused,
        lexical,
        dense,
        leg.pairs.of_candidates(query.pairs, candidates).sum(axis=0),
        squared @ (held > 0) / total if total > 0 else np.zeros(len(candidates), np.float32),
        lexical / np.maximum(leg.norms[candidates], np.float32(1e-9)),
        idf @ held,
    ]
    return standardise(np.stack(columns, axis=1).astype(np.float32))


def standardise(features: Singles) -> Singles:
    """Columns with mean 0 and deviation 1 over the rows; a column without spread is 0."""
    centred = features - features.mean(axis=0)
    deviation = centred.std(axis=0)
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
    features, target, held = _padded(taught)

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = np.where(held, features @ weights, -np.inf)
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        mass = chances.sum(axis=1, keepdims=True)
        away = weights - prior
        likelihood = (target * np.where(held, scores - np.log(mass), 0.0)).sum() / len(taught)
        slope = np.einsum("qc,qcf->f", chances / mass - target, features) / len(taught)
        return float(-likelihood + shrinkage * away @ away), slope + 2 * shrinkage * away

    found: Floats = minimize(loss, prior, jac=True, method="L-BFGS-B").x
    return found


def _padded(examples: Sequence[ListwiseExample]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Features (queries, candidates, features), target shares and which places are held, filled up with nothing."""
    most = max(len(item.grades) for item in examples)
    features = np.zeros((len(examples), most, examples[0].features.shape[1]))
    target = np.zeros((len(examples), most))
    held = np.zeros((len(examples), most), dtype=np.bool_)
    for row, item in enumerate(examples):
        count = len(item.grades)
        features[row, :count], held[row, :count] = item.features, True
        target[row, :count] = item.grades / item.grades.sum()
    return features, target, held
