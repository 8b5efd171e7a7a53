"""Latency by replay: both sides answer the same query one after the other, in an order drawn for each pair.

A search computes and waits for nothing, so its time is the processor time of the process: on a machine that does other
work it says what wall time would say on an idle one. Wall time is kept beside it. Encoder and linear algebra run on one
thread, as they do in service: threads that wait for each other would count as work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from acgs.retrieval.configuration import Route
from acgs.retrieval.corpus import Collection
from acgs.retrieval.search import Searcher
from acgs.statistics.evidence import Floats


@dataclass(frozen=True, slots=True)
class Replayed:
    """Milliseconds of the same requests on both sides, each of shape (queries * rounds,)."""

    baseline_ms: Floats
    """Processor time."""
    candidate_ms: Floats
    baseline_wall_ms: Floats
    candidate_wall_ms: Floats


def queries_to_time(collection: Collection, *, requests: int, seed: int) -> list[str]:
    """The judged queries, and of the others as many as there are requests to make: time needs no judgement.

    Of queries with one text one is timed.
    """
    others = [collection.queries[query] for query in collection.unjudged]
    np.random.default_rng(seed).shuffle(others)
    judged = dict.fromkeys(collection.queries[query] for query in sorted(collection.judgements))
    return list(dict.fromkeys([*judged, *others]))[: max(requests, len(judged))]


def replay(
    baseline: Searcher,
    candidate: Searcher,
    queries: Sequence[str],
    *,
    rounds: int,
    seed: int,
) -> Replayed:
    """Time both sides over all queries; a round before the first warms caches up and is not counted."""
    with threadpool_limits(1):
        return _replayed((baseline, candidate), queries, rounds=rounds, seed=seed)


def _replayed(sides: tuple[Searcher, Searcher], queries: Sequence[str], *, rounds: int, seed: int) -> Replayed:
    rng = np.random.default_rng(seed)
    times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for round_number in range(rounds + 1):
        for query in queries:
            for side in rng.permutation(2):
                elapsed = _timed(sides[side], query)
                if round_number:
                    times[side].append(elapsed)
    base, other = np.array(times[0]), np.array(times[1])
    return Replayed(base[:, 0], other[:, 0], base[:, 1], other[:, 1])


@dataclass(frozen=True, slots=True)
class RouteCosts:
    """What the routes cost on these queries, in processor time."""

    mean_ms: Floats
    """(3,) of no, cheap and full rerank; the first is 0"""
    late: Floats
    """(3,) chance that first stage and rerank together exceed the first stage's p95 plus the margin"""
    base_p95_ms: float
    base_mean_ms: float
    margin_ms: float
    """How much the first stage's p95 may rise."""
    cheap_ms: float
    """p95 of the cheap rerank."""
    candidate_ms: float
    """p95 of what late interaction with one candidate adds to it."""

    def over(self, tau: float) -> RouteCosts:
        """Costs over a baseline with this share of the dense leg.

        Where it searches by words alone, a rerank pays for the encoder and the dense leg, too. That is all of the first
        stage but the words, which count twice here: some tenths of a millisecond too much.
        """
        if tau > 0:
            return self
        reranks = np.array([0.0, 1.0, 1.0])
        late = np.maximum(self.late, reranks) if self.base_mean_ms > self.margin_ms else self.late
        return replace(self, mean_ms=self.mean_ms + self.base_mean_ms * reranks, late=late)


def route_times(searcher: Searcher, queries: Sequence[str], *, depth: int, rounds: int = 5) -> tuple[Floats, Floats]:
    """Time the first stage and each rerank on every query; of some rounds the least, which was disturbed least.

    Returns:
        Milliseconds of the first stage, (queries,), and what no, cheap and full rerank add, (queries, 3).
    """
    least = np.full((len(queries), 3), np.inf)
    with threadpool_limits(1):
        for _ in range(rounds):
            for row, query in enumerate(queries):
                marks = [time.process_time()]
                first = searcher.first_pass(query)
                marks.append(time.process_time())
                for route in (Route.CHEAP, Route.FULL):
                    searcher.rerank(first, first.fused, route, depth)
                    marks.append(time.process_time())
                least[row] = np.minimum(least[row], np.diff(marks) * 1e3)
    return least[:, 0], np.column_stack([np.zeros(len(queries)), least[:, 1:]])


def costs_under(base_ms: Floats, extra_ms: Floats, margin_ms: float, *, depth: int) -> RouteCosts:
    """Costs of the routes, from `route_times` at that depth, where the first stage's p95 may rise by a margin."""
    p95 = float(np.quantile(base_ms, 0.95))
    return RouteCosts(
        mean_ms=extra_ms.mean(axis=0),
        late=(base_ms[:, None] + extra_ms > p95 + margin_ms).mean(axis=0),
        base_p95_ms=p95,
        base_mean_ms=float(base_ms.mean()),
        margin_ms=margin_ms,
        cheap_ms=float(np.quantile(extra_ms[:, 1], 0.95)),
        candidate_ms=float(np.quantile(np.maximum(extra_ms[:, 2] - extra_ms[:, 1], 0), 0.95)) / depth,
    )


def route_costs(
    searcher: Searcher, queries: Sequence[str], margin_ms: float, *, depths: Sequence[int]
) -> dict[int, RouteCosts]:
    """Measure what the routes cost on these queries, by depth."""
    return {
        depth: costs_under(*route_times(searcher, queries, depth=depth), margin_ms, depth=depth) for depth in depths
    }


def _timed(searcher: Searcher, query: str) -> tuple[float, float]:
    """Processor and wall milliseconds of one search."""
    wall, processor = time.perf_counter(), time.process_time()
    searcher.search(query)
    return (time.process_time() - processor) * 1e3, (time.perf_counter() - wall) * 1e3
