"""Latency by replay: both sides answer the same query one after the other, in an order drawn for each pair.

A search computes and waits for nothing, so its time is the processor time of the process: on a machine that does other
work it says what wall time would say on an idle one. Wall time is kept beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from acgs.retrieval.configuration import Route
from acgs.retrieval.search import Searcher
from acgs.statistics.evidence import Floats


@dataclass(frozen=True, slots=True)
class Replayed:
    """Milliseconds of the same requests on both sides, each of shape (queries * replays,)."""

    baseline_ms: Floats
    """Processor time."""
    candidate_ms: Floats
    baseline_wall_ms: Floats
    candidate_wall_ms: Floats


def replay(
    baseline: Searcher,
    candidate: Searcher,
    queries: Sequence[str],
    replays: int,
    seed: int,
    *,
    advance: Callable[[int], None] = lambda _count: None,
) -> Replayed:
    """Time both sides over all queries; the first round warms caches up and is not counted."""
    rng = np.random.default_rng(seed)
    times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    sides = (baseline, candidate)
    for round_number in range(replays + 1):
        for query in queries:
            for side in rng.permutation(2):
                elapsed = _timed(sides[side], query, None)
                if round_number:
                    times[side].append(elapsed)
        advance(len(queries))
    base, other = np.array(times[0]), np.array(times[1])
    return Replayed(base[:, 0], other[:, 0], base[:, 1], other[:, 1])


@dataclass(frozen=True, slots=True)
class RouteCosts:
    """What the routes cost on these queries."""

    mean_ms: Floats
    """(3,) of no, cheap and full rerank; the first is 0"""
    late: Floats
    """(3,) chance that base and rerank together exceed the base's p95 plus the margin"""
    base_p95_ms: float


def route_costs(searcher: Searcher, queries: Sequence[str], margin_ms: float, *, rounds: int = 3) -> RouteCosts:
    """Measure each route on each query and take the least of some rounds, which the machine disturbed least."""
    routes = (Route.FUSED, Route.CHEAP, Route.FULL)
    least = np.full((len(queries), len(routes)), np.inf)
    for _ in range(rounds):
        for row, query in enumerate(queries):
            for column, route in enumerate(routes):
                least[row, column] = min(least[row, column], _timed(searcher, query, route)[0])
    limit = float(np.quantile(least[:, 0], 0.95)) + margin_ms
    extra = np.maximum(least - least[:, :1], 0.0)
    return RouteCosts(extra.mean(axis=0), (least > limit).mean(axis=0), limit - margin_ms)


def _timed(searcher: Searcher, query: str, route: Route | None) -> tuple[float, float]:
    """Processor and wall milliseconds of one search."""
    wall, processor = time.perf_counter(), time.process_time()
    searcher.search(query, route=route)
    return (time.process_time() - processor) * 1e3, (time.perf_counter() - wall) * 1e3
