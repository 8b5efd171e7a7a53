"""What the first stage tells of a query: features that predict what reranking would gain.

Query performance prediction after the first stage: entropy of the scores, NQC (Shtok et al. 2012), simplified clarity
(He and Ounis 2004, with document frequencies), agreement of the legs. No feature looks at a judgement.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.retrieval.lexical import LexicalQuery

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

NAMES: Final = ("entropy", "nl_confidence", "nqc", "clarity", "overlap")
"""entropy: of the fused scores of the first candidates, in [0, 1]; nl_confidence: see that module; nqc: deviation of
the first BM25 scores over their mean; clarity: nats; overlap: Jaccard of the legs' first ten.

Of more (length, score margins, highest scores, rarest term) the gains of the development collections are told no better
out of fold, and each costs every query its lookup."""

_DEPTH: Final = 50
_FIRST: Final = 10


def query_features(
    query: LexicalQuery,
    nl_confidence: float,
    idf: Singles,
    *,
    fused: Singles,
    lexical: Singles,
    dense: Singles,
) -> Floats:
    """Features in the order of `NAMES`, shape (5,).

    Args:
        idf: by term, of the corpus.
        fused, lexical, dense: scores of the candidates, shape (candidates,), in the same order.
    """
    top = np.sort(fused)[::-1][:_DEPTH].astype(np.float64)
    words = np.sort(lexical)[::-1][:_DEPTH].astype(np.float64)
    rarity = idf[query.words].astype(np.float64)
    first = _leaders(lexical)
    other = _leaders(dense)
    union = len(first | other)
    return np.array(
        [
            _entropy(top),
            nl_confidence,
            words.std() / words.mean() if len(words) and words.mean() > 0 else 0.0,
            rarity.mean() - np.log(len(rarity)) if len(rarity) else 0.0,
            len(first & other) / union if union else 0.0,
        ],
        dtype=np.float64,
    )


def _entropy(scores: Floats) -> float:
    """Of scores taken as shares of their sum, over its highest possible value; 1 where all are alike."""
    total = scores.sum()
    if len(scores) < 2 or total <= 0:
        return 1.0
    shares = scores[scores > 0] / total
    return float(-(shares * np.log(shares)).sum() / np.log(len(scores)))


def _leaders(scores: Singles) -> set[int]:
    """Places of the first ten that the leg gave any score."""
    first = np.argsort(-scores, kind="stable")[:_FIRST]
    return set(first[scores[first] > 0].tolist())
