"""The latency harvest: the ANN setting of least latency at no loss of quality, measured against exact search.

Settings and the baseline answer the same queries one after the other. Cold times come from a graph whose pages were
dropped from the page cache and that is mapped anew, by itself: two settings may share a graph's file. Warm times come
from the rounds after it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from acgs.errors import InvalidInputError
from acgs.retrieval.index import Index
from acgs.retrieval.vectors import ExactSearch, GraphOptions, GraphSearch, NearestSearch, build_graph, load_graph
from acgs.statistics.evidence import Floats

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

RECALL_AT: Final = 10
LEAST_RECALL: Final = 0.99
SEED_GRID: Final = tuple((ef, topk) for ef in (104, 108, 112) for topk in (80, 88, 96))
"""The grid that the published configuration was read off; its cells differ by less than the noise."""
SAME_SPEED: Final = 0.05
"""Settings whose medians differ by less are not told apart."""
EFS: Final = (16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Geometric: each step costs about as much more as the one before."""


class Setting(BaseModel):
    """One point of the sweep."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    graph: GraphOptions = GraphOptions()
    ef: int = Field(ge=1, le=4096)
    topk: int = Field(ge=1, le=1000)


@dataclass(frozen=True, slots=True)
class Measured:
    """A setting's figures over the same queries as the baseline's."""

    setting: Setting
    recall: float
    """Mean recall@10 against exact search."""
    overlaps: Floats
    """(queries,) Jaccard@10 against exact search"""
    cold_ms: Floats
    """(queries,)"""
    warm_ms: Floats
    """(queries * rounds,)"""
    baseline_cold_ms: Floats
    baseline_warm_ms: Floats
    build_seconds: float
    memory_bytes: int
    """Of the graph's file, which is mapped."""
    found: tuple[Ints, ...]
    """Document numbers by query, best first."""

    @property
    def p95_ms(self) -> float:
        """Warm p95."""
        return float(np.quantile(self.warm_ms, 0.95))

    @property
    def sign_consistent(self) -> bool:
        """Whether cold and warm agree on being faster or slower than the baseline, at the median.

        A change of a few percent is noise, and disagrees with nothing.
        """
        cold = float(np.median(self.cold_ms) / np.median(self.baseline_cold_ms)) - 1
        warm = float(np.median(self.warm_ms) / np.median(self.baseline_warm_ms)) - 1
        return cold * warm >= 0 or min(abs(cold), abs(warm)) < SAME_SPEED


class Harvest:
    """Measures settings over the same vectors and queries; graphs are built once for each of their options."""

    def __init__(self, vectors: Singles, queries: Singles, work: Path, baseline: Setting, *, rounds: int = 3) -> None:
        """Prepare.

        Args:
            vectors: (documents, width).
            queries: (queries, width).
            work: folder for graphs, which must lie on a disk for cold times to mean something.

        Raises:
            InvalidInputError: there are no vectors or no queries, or their widths differ.
        """
        if not len(vectors) or not len(queries) or vectors.shape[1] != queries.shape[1]:
            raise InvalidInputError("the harvest needs vectors and queries of one width", field="queries")
        self._vectors, self._queries, self._work, self._rounds = vectors, queries, work, rounds
        self._exact = ExactSearch(vectors)
        self._truth = [set(self._exact.nearest(query, RECALL_AT).tolist()) for query in queries]
        self._built: dict[GraphOptions, tuple[Path, float]] = {}
        self.baseline = baseline

    def measure(self, setting: Setting) -> Measured:
        """Figures of one setting, with the baseline's times over the same queries beside them."""
        cold, base_cold = self._cold(setting), self._cold(self.baseline)
        graph, base = self._open(setting, cold=False), self._open(self.baseline, cold=False)
        warm, base_warm = [], []
        self._round(graph, base, setting)
        for _ in range(self._rounds):
            mine, theirs = self._round(graph, base, setting)
            warm.append(mine)
            base_warm.append(theirs)
        found = tuple(graph.nearest(query, setting.topk) for query in self._queries)
        hits = count_hits(self._truth, found)
        wanted = np.array([len(held) for held in self._truth])
        # Of a query that is near to nothing, nothing is missed.
        shares = np.where(wanted > 0, hits / np.maximum(wanted, 1), 1.0)
        return Measured(
            setting=setting,
            recall=float(shares.mean()),
            # Both lists are of one length, so Jaccard follows from the share that they have in common.
            overlaps=shares / (2.0 - shares),
            cold_ms=cold,
            warm_ms=np.concatenate(warm),
            baseline_cold_ms=base_cold,
            baseline_warm_ms=np.concatenate(base_warm),
            build_seconds=self._built[setting.graph][1],
            memory_bytes=self._built[setting.graph][0].stat().st_size,
            found=found,
        )

    def exact_ms(self) -> Floats:
        """Times of exact search over the queries with one thread, as searches are served, shape (queries,)."""
        with threadpool_limits(1):
            return np.array([search_ms(self._exact, query, RECALL_AT) for query in self._queries])

    def _cold(self, setting: Setting) -> Floats:
        graph = self._open(setting, cold=True)
        return np.array([search_ms(graph, query, setting.topk) for query in self._queries])

    def _round(self, graph: GraphSearch, base: GraphSearch, setting: Setting) -> tuple[Floats, Floats]:
        mine: list[float] = []
        theirs: list[float] = []
        for number, query in enumerate(self._queries):
            pair = ((graph, setting.topk, mine), (base, self.baseline.topk, theirs))
            # Who goes first changes from query to query, so that neither always finds the caches warm.
            for search, topk, times in pair if number % 2 else pair[::-1]:
                times.append(search_ms(search, query, topk))
        return np.array(mine), np.array(theirs)

    def _open(self, setting: Setting, *, cold: bool) -> GraphSearch:
        path = self._build(setting.graph)
        if cold:
            drop_from_page_cache(path)
        graph: Any = load_graph(path, len(self._vectors), self._vectors.shape[1])
        return GraphSearch(graph, self._vectors, setting.ef)

    def _build(self, options: GraphOptions) -> Path:
        if options not in self._built:
            path = self._work / f"{options.connectivity}-{options.expansion_add}-{options.dtype}.usearch"
            started = time.process_time()
            path.parent.mkdir(parents=True, exist_ok=True)
            # Trials that share the folder never map a graph that another is still writing.
            unfinished = path.with_suffix(f".{os.getpid()}")
            build_graph(self._vectors, options).save(str(unfinished))
            unfinished.replace(path)
            self._built[options] = (path, time.process_time() - started)
        return self._built[options][0]


def count_hits(truth: Sequence[set[int]], found: Sequence[Ints]) -> NDArray[np.int64]:
    """How many of the documents that exact search ranks first were found, shape (queries,)."""
    return np.array([len(held & set(ids[:RECALL_AT].tolist())) for held, ids in zip(truth, found, strict=True)])


def drop_from_page_cache(path: Path) -> None:
    """Ask the kernel to forget a file's pages, after they were written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def pareto_frontier(measured: Iterable[Measured]) -> list[Measured]:
    """Settings that no other beats in recall and warm p95 at once, by rising p95."""
    frontier: list[Measured] = []
    for item in sorted(measured, key=lambda one: (one.p95_ms, -one.recall)):
        if not frontier or item.recall > frontier[-1].recall:
            frontier.append(item)
    return frontier


def choose_setting(measured: Sequence[Measured], ndcg_change: Mapping[Setting, float], topk: int) -> Measured | None:
    """The setting to serve with: least warm p95 with enough recall, and no loss of nDCG@10 where any has none.

    It keeps the usual topk, which decides quality beyond the first ten, and cold and warm must agree on it.

    Args:
        ndcg_change: against exact search, NaN where it is not known.
    """
    usual = [item for item in measured if item.sign_consistent and item.setting.topk == topk]
    return best_setting([item for item in usual if ndcg_change[item.setting] >= 0]) or best_setting(usual)


def best_setting(measured: Sequence[Measured], *, least_recall: float = LEAST_RECALL) -> Measured | None:
    """Least warm p95 among those that reach the recall; None where none does."""
    enough = [item for item in measured if item.recall >= least_recall]
    return min(enough, key=lambda item: item.p95_ms) if enough else None


def enough_ef(index: Index, queries: Sequence[Singles], topk: int, *, least_recall: float = LEAST_RECALL) -> int:
    """Least ef with which the index's own graph reaches the recall@10; the greatest looked at where none does.

    Args:
        queries: vectors of shape (width,).
        topk: documents that a search asks for, which are kept open at least.
    """
    exact = index.exact()
    truth = [set(exact.nearest(query, RECALL_AT).tolist()) for query in queries]
    wanted = sum(map(len, truth))
    steps = [ef for ef in EFS if ef >= topk] or [topk]
    for ef in steps:
        graph = index.graph(ef)
        near = [graph.nearest(query, topk) for query in queries]
        if count_hits(truth, near).sum() >= least_recall * wanted:
            return ef
    return steps[-1]


def search_ms(search: NearestSearch, query: Singles, k: int) -> float:
    """Milliseconds of one search."""
    started = time.perf_counter()
    search.nearest(query, k)
    return (time.perf_counter() - started) * 1e3
