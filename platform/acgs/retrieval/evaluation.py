"""How well a searcher ranks a judged collection: trec_eval's metrics by slice, with intervals, and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from acgs.errors import InvalidInputError
from acgs.retrieval.configuration import Route
from acgs.retrieval.corpus import Collection, corpus_digest
from acgs.retrieval.search import Ranking, Searcher
from acgs.retrieval.slices import slice_queries
from acgs.statistics.bootstrap import paired_bca
from acgs.statistics.evidence import Floats, InsufficientDataError
from acgs.statistics.ranking import Judgements, evaluate, ndcg, recall, reciprocal_rank

DEPTH: Final = 100
METRICS: Final[dict[str, tuple[Callable[[Sequence[str], Judgements, int], float], int]]] = {
    "ndcg@10": (ndcg, 10),
    "mrr@10": (reciprocal_rank, 10),
    "recall@100": (recall, DEPTH),
}


@dataclass(frozen=True, slots=True)
class SliceQuality:
    """Metrics of one slice."""

    name: str
    queries: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    """95 % two-sided; None where the slice is too small."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A searcher's quality and speed on a collection."""

    slices: tuple[SliceQuality, ...]
    judged: int
    unjudged: tuple[str, ...]
    """Queries that have no judgements: searched and timed, not scored."""
    latency_ms: dict[str, float]
    """p50, p95 and p99 of a search, in process."""
    routes: dict[str, int]
    """Queries by the route taken."""
    configuration: str
    """Version of the configuration."""


def run_queries(
    searcher: Searcher,
    queries: Mapping[str, str],
    *,
    topk: int = DEPTH,
    route: Route | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> dict[str, Ranking]:
    """Search every query in the order of its id."""
    found = {}
    for query in sorted(queries):
        found[query] = searcher.search(queries[query], topk=topk, route=route)
        advance(1)
    return found


def as_run(searcher: Searcher, rankings: Mapping[str, Ranking]) -> dict[str, list[str]]:
    """Document ids by query, best first."""
    documents = searcher.index.documents
    names = {int(number): "" for ranking in rankings.values() for number in ranking.numbers}
    names = {number: documents[number].id for number in names}
    return {query: [names[int(number)] for number in ranking.numbers] for query, ranking in rankings.items()}


def evaluate_searcher(
    searcher: Searcher,
    collection: Collection,
    *,
    route: Route | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _count: None,
) -> Evaluation:
    """Search and score a collection.

    Raises:
        InvalidInputError: no query has judgements, or the index holds none of the judged documents.
    """
    if not collection.judgements:
        raise InvalidInputError("no query has relevance judgements, so nothing can be scored", field="qrels")
    if corpus_digest(collection.documents) != searcher.index.manifest.corpus_sha256:
        raise InvalidInputError("the index was not made of this collection's documents", field="index")
    rankings = run_queries(searcher, collection.queries, route=route, advance=advance)
    run = as_run(searcher, rankings)
    judged = {query: run[query] for query in collection.judgements}
    scores = {name: evaluate(judged, collection.judgements, metric, k) for name, (metric, k) in METRICS.items()}
    slices = []
    for name, members in slice_queries({query: collection.queries[query] for query in judged}).items():
        values = {}
        intervals: dict[str, tuple[float, float] | None] = {}
        for metric, scored in scores.items():
            held = set(members)
            kept = np.array(
                [value for query, value in zip(scored.queries, scored.values, strict=True) if query in held]
            )
            values[metric] = float(kept.mean()) if len(kept) else float("nan")
            intervals[metric] = interval(kept, seed)
        if members:
            slices.append(SliceQuality(name, len(members), values, intervals))
    times = [ranking.total_ms for ranking in rankings.values()]
    routes = [ranking.route for ranking in rankings.values()]
    return Evaluation(
        slices=tuple(slices),
        judged=len(judged),
        unjudged=collection.unjudged,
        latency_ms={f"p{p}": float(np.percentile(times, p)) for p in (50, 95, 99)},
        routes={kind.value: routes.count(kind) for kind in Route if kind in routes},
        configuration=searcher.version,
    )


def interval(values: Floats, seed: int) -> tuple[float, float] | None:
    """Two-sided 95 % interval of a mean over queries (BCa bootstrap); None where they are too few or all alike."""
    try:
        bounds = paired_bca(values, confidence=0.975, seed=seed)
    except InsufficientDataError:
        return None
    return bounds.lower, bounds.upper
