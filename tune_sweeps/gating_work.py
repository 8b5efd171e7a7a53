"""What trials of the gating sweep work on: first passes, legs, the costs of routes; and how choices answer queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from acgs.errors import IntegrityError
from acgs.files import write_atomic
from acgs.release.t1.confirmation import Choice, Workbench, predicted_gains
from acgs.release.t1.latency import RouteCosts, costs_under, route_times
from acgs.release.t1.passes import JudgedPass, RememberingEncoder, searcher_for
from acgs.release.t1.plan import T1Plan
from acgs.retrieval.configuration import Route
from acgs.retrieval.encoders import Encoded, Encoder
from acgs.retrieval.index import Bm25Options, Index, open_index
from acgs.retrieval.lexical import LexicalLeg
from acgs.statistics.evidence import Floats
from tune_sweeps.gating_config import FoldFigures, GatingConfig

Rows = NDArray[np.intp]
_COLUMN = {Route.LEXICAL: 0, Route.FUSED: 0, Route.CHEAP: 1, Route.FULL: 2}


class RouteTimes(BaseModel):
    """Milliseconds of processor time of some queries, each at its best of some rounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_ms: tuple[float, ...]
    """Of the first stage."""
    depth: int
    extra_ms: tuple[tuple[float, float, float], ...]
    """What no, cheap and full rerank add to it at that depth."""

    def under(self, margin_ms: float) -> RouteCosts:
        """Costs of the routes where the base's p95 may rise by a margin."""
        return costs_under(np.array(self.base_ms), np.array(self.extra_ms), margin_ms, depth=self.depth)


def time_routes(index: Index, encoder: Encoder, plan: T1Plan, depth: int, texts: Sequence[str]) -> RouteTimes:
    """Time each route on each query at a depth of reranking."""
    searcher = searcher_for(index, encoder, plan)
    base, extra = route_times(searcher, texts, depth=depth)
    return RouteTimes(base_ms=tuple(base.tolist()), depth=depth, extra_ms=tuple(map(tuple, extra.tolist())))


def write_times(path: Path, times: Mapping[int, RouteTimes]) -> None:
    """Keep the times by depth: trials before and after an interruption must be judged by the same."""
    write_atomic(path, orjson.dumps({str(depth): item.model_dump() for depth, item in times.items()}))


def read_times(path: Path) -> dict[int, RouteTimes]:
    """Times by depth.

    Raises:
        IntegrityError: the file is damaged.
    """
    try:
        return {int(key): RouteTimes.model_validate(value) for key, value in orjson.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise IntegrityError(f"{path} is damaged; name another output", field="output") from error


@dataclass(frozen=True, slots=True)
class GatingWork:
    """What all trials share."""

    config: GatingConfig
    index: Path
    legs: Mapping[Bm25Options, LexicalLeg]
    passes: Mapping[Bm25Options, Sequence[JudgedPass]]
    training: Rows
    """Rows of `passes` that trials may see."""
    folds: NDArray[np.int64]
    """(training queries,)"""
    times: Mapping[int, RouteTimes]


class KnownQueries:
    """An encoder of the queries whose first pass is known, so that trials need no model."""

    def __init__(self, index: Index, passes: Sequence[JudgedPass]) -> None:
        self.name, self.digest = index.manifest.encoder, index.manifest.encoder_sha256
        self.width, self.pieces = index.vectors.shape[1], len(index.tokens.rarity)
        self.state_width = index.tokens.projection.shape[0]
        self._known = {judged.text: judged.first.encoded for judged in passes}

    def encode(self, texts: Sequence[str]) -> Encoded:
        """What the first pass kept of one query."""
        (text,) = texts
        encoded = self._known[text]
        assert encoded is not None
        return encoded


def workbench(work: GatingWork) -> Workbench:
    """The driver's workbench once more, from the index on disk and what came through the object store."""
    index = open_index(work.index)
    indexes = {options: replace(index, lexical=leg) for options, leg in work.legs.items()}
    encoder = RememberingEncoder(KnownQueries(index, next(iter(work.passes.values()))))
    searchers = {options: searcher_for(made, encoder, work.config.plan) for options, made in indexes.items()}
    return Workbench(indexes, searchers, work.passes, encoder, work.config.plan)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a choice did with queries that it was not made on; each of shape (queries,)."""

    baseline: Floats
    """nDCG@10"""
    candidate: Floats
    full: Floats
    """nDCG@10 with the full rerank whatever the gate says"""
    routes: NDArray[np.int64]
    """0 none, 1 cheap, 2 full"""
    predicted: Floats
    """Gain that the router predicts; NaN without one"""

    def figures(self, fold: int, costs: RouteCosts, *, gated: bool) -> FoldFigures:
        """Means over the queries."""
        return FoldFigures(
            fold=fold,
            queries=len(self.baseline),
            gain=float((self.candidate - self.baseline).mean()),
            cost_ms=float(costs.mean_ms[self.routes].mean()),
            late=float(costs.late[self.routes].mean()),
            fired=float((self.routes > 0).mean()),
            gated=gated,
        )


def answer(bench: Workbench, choice: Choice, rows: Rows) -> Answered:
    """Search some queries with both sides of a choice."""
    sides = bench.sides(choice)
    found = []
    gains = predicted_gains(bench, choice)
    for judged in (bench.judged(choice.baseline)[row] for row in rows):
        base, candidate = sides.baseline.search(judged.text), sides.candidate.search(judged.text)
        full = sides.candidate.search(judged.text, route=Route.FULL)
        quality = (judged.ndcg_of(item.numbers) for item in (base, candidate, full))
        found.append((*quality, _COLUMN[candidate.route]))
    table = np.array(found, dtype=np.float64)
    predicted = np.full(len(rows), np.nan) if gains is None else gains[rows]
    return Answered(table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(np.int64), predicted)
