"""The latency harvest of a run: ANN settings over the judged queries, with the quality that each leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acgs.release.t1.confirmation import Choice, Workbench
from acgs.release.t1.passes import JudgedPass
from acgs.retrieval.candidates import of_both_legs
from acgs.retrieval.fusion import combine
from acgs.retrieval.harvest import EFS, SEED_GRID, Harvest, Measured, Setting, choose_setting, pareto_frontier
from acgs.retrieval.vectors import GraphOptions, best
from acgs.statistics.evidence import Floats

TOPK_STEPS = (50, 100, 200)


@dataclass(frozen=True, slots=True)
class Swept:
    """All settings that were measured, the frontier, the choice, and what it does to the ranking."""

    measured: tuple[Measured, ...]
    seed_grid: tuple[Measured, ...]
    frontier: tuple[Measured, ...]
    chosen: Measured | None
    """None where no setting reaches the recall."""
    served: Measured
    """The setting in service; it may be another, as a graph of other options is another index."""
    ndcg_change: Mapping[Setting, float]
    """Mean nDCG@10 of the fused ranking with the setting less that with exact search."""
    exact_p50_ms: float


def settings(topk: int) -> list[Setting]:
    """A geometric grid of ef for the built graph, and around it other topk, links, construction efforts and types.

    A search keeps at least topk nodes open, so an ef below it comes with as small a topk.
    """
    grid = [Setting(ef=ef, topk=min(ef, topk)) for ef in EFS]
    grid += [Setting(ef=128, topk=step) for step in TOPK_STEPS if step != topk]
    for graph in (
        GraphOptions(connectivity=8),
        GraphOptions(connectivity=32),
        GraphOptions(expansion_add=100),
        GraphOptions(dtype="f32"),
        GraphOptions(dtype="f16"),
    ):
        grid += [Setting(graph=graph, ef=ef, topk=topk) for ef in (topk, 2 * topk)]
    return grid


def sweep(bench: Workbench, final: Choice, work: Path) -> Swept:
    """Measure every setting on the run's queries."""
    index = bench.indexes[final.baseline.bm25]
    passes = bench.judged(final.baseline)
    vectors = [item.first.encoded.vectors[0] for item in passes if item.first.encoded is not None]
    first = final.configuration.first_stage
    shipped = Setting(ef=first.ef, topk=first.topk)
    harvest = Harvest(index.vectors, np.array(vectors), work, shipped)
    measured = [harvest.measure(setting) for setting in dict.fromkeys((shipped, *settings(first.topk)))]
    grid = [harvest.measure(Setting(ef=ef, topk=topk)) for ef, topk in SEED_GRID]
    exact = _ranked(bench, final, passes, None)
    changes = {item.setting: float(np.mean(_ranked(bench, final, passes, item) - exact)) for item in (*measured, *grid)}
    return Swept(
        measured=tuple(measured),
        seed_grid=tuple(grid),
        frontier=tuple(pareto_frontier(measured)),
        chosen=choose_setting(measured, changes, first.topk),
        served=next(item for item in measured if item.setting == shipped),
        ndcg_change=changes,
        exact_p50_ms=float(np.median(harvest.exact_ms())),
    )


def _ranked(bench: Workbench, final: Choice, passes: Sequence[JudgedPass], measured: Measured | None) -> Floats:
    """nDCG@10 of the fused ranking when the dense leg finds what a setting found, or what exact search finds."""
    index = bench.indexes[final.baseline.bm25]
    exact = index.exact()
    values = []
    for row, judged in enumerate(passes):
        first = judged.first
        if first.encoded is None:
            continue
        query = first.encoded.vectors[0]
        near = exact.nearest(query, bench.plan.topk) if measured is None else measured.found[row]
        by_words = index.lexical.words.scores(first.query.words)
        found = of_both_legs(by_words, near, query, index.vectors, bench.plan.topk)
        order = best(combine(found.lexical, found.dense, found.floor, final.baseline.tau), 10)
        values.append(judged.ndcg_of(found.numbers[order]))
    return np.array(values)
