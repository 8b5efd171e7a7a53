"""Quality of rankings with trec_eval's conventions, and how far two rankings agree.

trec_eval (NIST, github.com/usnistgov/trec_eval, version 9): a document's gain is its relevance grade, documents without
a judgement and grades below 0 gain nothing, a document is relevant from grade 1, and a judged query without relevant
documents scores 0. A ranking is the list of document ids from the best down; the order alone counts, so ties among
scores are settled beforehand by `trec_order`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats, InsufficientDataError, share

Judgements = Mapping[str, int]
"""Relevance grade by document id, for one query."""


def trec_order(scores: Mapping[str, float]) -> list[str]:
    """Document ids as trec_eval ranks them: by score, then by document id, both descending.

    Scores are compared in single precision, as trec_eval stores them.

    Raises:
        InvalidInputError: a score is not a number.
    """
    single = {document: float(np.float32(score)) for document, score in scores.items()}
    if any(isnan(score) for score in single.values()):
        raise InvalidInputError("a document's score is not a number", field="scores")
    return sorted(single, key=lambda document: (single[document], document.encode()), reverse=True)


def ndcg(ranking: Sequence[str], judgements: Judgements, k: int = 10) -> float:
    """nDCG@k in [0, 1] (Jarvelin and Kekalainen 2002): linear gain, discount log2(rank + 1), ideal over all judged.

    Raises:
        InvalidInputError: k below 1, or a document that stands in the ranking twice.
        InsufficientDataError: the query has no judgements.
    """
    ideal = discounted_gain(sorted(judgements.values(), reverse=True)[:k])
    gained = discounted_gain([judgements.get(document, 0) for document in _top(ranking, judgements, k)])
    return gained / ideal if ideal > 0 else 0.0


def reciprocal_rank(ranking: Sequence[str], judgements: Judgements, k: int = 10) -> float:
    """1 / rank of the first relevant document among the first k, else 0; its mean over queries is MRR@k.

    Raises:
        InvalidInputError, InsufficientDataError: as `ndcg`.
    """
    for rank, document in enumerate(_top(ranking, judgements, k), start=1):
        if judgements.get(document, 0) > 0:
            return 1 / rank
    return 0.0


def recall(ranking: Sequence[str], judgements: Judgements, k: int = 100) -> float:
    """Share of the relevant documents found among the first k; 0 where none is relevant.

    Raises:
        InvalidInputError, InsufficientDataError: as `ndcg`.
    """
    top = _top(ranking, judgements, k)
    relevant = sum(grade > 0 for grade in judgements.values())
    return sum(judgements.get(document, 0) > 0 for document in top) / relevant if relevant else 0.0


@dataclass(frozen=True, slots=True)
class QueryScores:
    """One metric over a run. Every judged query counts; those that the run does not answer score 0 (trec_eval -c)."""

    queries: tuple[str, ...]
    values: Floats
    """Shape (len(queries),), in the same order."""
    unanswered: tuple[str, ...]
    """Judged queries that the run does not hold."""
    unjudged: tuple[str, ...]
    """Queries of the run that have no judgements and therefore no score."""

    @property
    def mean(self) -> float:
        return float(self.values.mean())


def evaluate(
    run: Mapping[str, Sequence[str]],
    judgements: Mapping[str, Judgements],
    metric: Callable[[Sequence[str], Judgements, int], float],
    k: int,
) -> QueryScores:
    """Score every judged query of a run with `ndcg`, `reciprocal_rank` or `recall` at k.

    Args:
        run: ranking by query id.
        judgements: judgements by query id; a query with an empty entry counts as not judged.

    Raises:
        InvalidInputError: k below 1, or a document that stands in a ranking twice.
        InsufficientDataError: no query has judgements.
    """
    judged = tuple(sorted(query for query, grades in judgements.items() if grades))
    if not judged:
        raise InsufficientDataError("no query has relevance judgements, so nothing can be scored", field="judgements")
    values = [metric(run.get(query, ()), judgements[query], k) for query in judged]
    return QueryScores(
        queries=judged,
        values=np.array(values, dtype=np.float64),
        unanswered=tuple(query for query in judged if query not in run),
        unjudged=tuple(sorted(query for query in run if not judgements.get(query))),
    )


def jaccard(first: Sequence[str], second: Sequence[str], k: int = 10) -> float:
    """Shared documents among the first k of each, as a part of all of them (Jaccard 1912), in [0, 1].

    Raises:
        InvalidInputError: k below 1, or a document that stands in a ranking twice.
        InsufficientDataError: both rankings are empty.
    """
    one, other = set(_distinct(first, k)), set(_distinct(second, k))
    if not one | other:
        raise InsufficientDataError("two empty rankings neither agree nor differ", field="first")
    return len(one & other) / len(one | other)


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], p: float = 0.9) -> float:
    """Extrapolated rank-biased overlap in [0, 1] (Webber, Moffat and Zobel 2010, eq. 32); p weighs depth.

    Raises:
        InvalidInputError: p outside (0, 1), or a document that stands in a ranking twice.
        InsufficientDataError: a ranking is empty.
    """
    share(p, "p")
    short, long = sorted((list(first), list(second)), key=len)
    if not short:
        raise InsufficientDataError("an empty ranking overlaps with nothing", field="first")
    _distinct(short, len(short)), _distinct(long, len(long))
    depth = np.arange(1, len(long) + 1)
    position = {document: rank for rank, document in enumerate(long, start=1)}
    # A shared document counts from the depth at which both lists have shown it.
    met = [max(rank, position[document]) for rank, document in enumerate(short, start=1) if document in position]
    overlap = np.cumsum(np.bincount(met, minlength=len(long) + 1)[1:]).astype(np.float64)
    at_short, at_long, s = overlap[len(short) - 1], overlap[-1], len(short)
    agreement = overlap / depth + np.where(depth > s, at_short * (depth - s) / (s * depth), 0.0)
    tail = ((at_long - at_short) / len(long) + at_short / s) * p ** len(long)
    return float((1 - p) / p * (agreement * p**depth).sum() + tail)


def discounted_gain(grades: ArrayLike) -> float:
    """DCG of grades in the order of the ranking; grades below 0 gain nothing."""
    gains = np.maximum(np.array(grades, dtype=np.float64), 0.0)
    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())


def _top(ranking: Sequence[str], judgements: Judgements, k: int) -> Sequence[str]:
    if not judgements:
        raise InsufficientDataError("the query has no relevance judgements, so it has no score", field="judgements")
    return _distinct(ranking, k)


def _distinct(ranking: Sequence[str], k: int) -> Sequence[str]:
    if k < 1:
        raise InvalidInputError("k must be at least 1", field="k")
    top = ranking[:k]
    if len(set(top)) < len(top):
        raise InvalidInputError("a document stands in the ranking twice", field="ranking")
    return top
