"""What comes of an ANN harvest: the setting to serve with, as `latency_harvest_config.json` and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from acgs.cli.output import say, write_table
from acgs.errors import UnavailableError
from acgs.release.t1.artifacts import HarvestDocument, harvest_document
from acgs.release.t1.sweep import Swept
from acgs.retrieval.harvest import LEAST_RECALL, choose_setting, pareto_frontier
from tune_sweeps.ann_harvest_config import HarvestConfig, HarvestRow
from tune_sweeps.ann_harvest_times import read_measured

_COLUMNS = ("ef", "topk", "M/efC/type", "recall@10", "p50/p95/p99 ms", "cold p50", "nDCG@10")


def harvested(
    output: Path, config: HarvestConfig, rows: Sequence[HarvestRow], *, version: str, at: datetime
) -> HarvestDocument:
    """Choose among the settings that were measured to the end.

    The choice keeps the baseline's topk, which decides quality beyond the first ten, and loses no nDCG@10 where any
    setting loses none.

    Raises:
        UnavailableError: the baseline was not measured, so that nothing can be compared.
        IntegrityError: the times of a trial are gone or damaged.
    """
    figures = {row.trial.setting: row.figures for row in rows if row.figures is not None}
    if config.baseline not in figures:
        raise UnavailableError("the baseline setting was not measured; the trials' lines say why")
    measured = [(row.trial.role, read_measured(output, row)) for row in rows if row.figures is not None]
    swept = [item for role, item in measured if role != "seed grid"]
    known = {setting: item.ndcg_delta for setting, item in figures.items() if item.ndcg_delta is not None}
    changes = {setting: known.get(setting, math.nan) for setting in figures}
    chosen = choose_setting(swept, changes, config.baseline.topk)
    document = harvest_document(
        Swept(
            measured=tuple(swept),
            seed_grid=tuple(item for role, item in measured if role == "seed grid"),
            frontier=tuple(pareto_frontier(swept)),
            chosen=chosen,
            served=next(item for item in swept if item.setting == config.baseline),
            ndcg_change=changes,
            exact_p50_ms=float(np.median([item.exact_p50_ms for item in figures.values()])),
        ),
        version=version,
        at=at,
    )
    if chosen is None or known:
        return document
    reason = f"least warm p95 with recall@10 of {LEAST_RECALL} or more; no query is judged, so nDCG@10 is not known"
    pareto = document.pareto_analysis.model_copy(update={"selection_reason": reason})
    return document.model_copy(update={"pareto_analysis": pareto})


def show(document: HarvestDocument, rows: Sequence[HarvestRow]) -> None:
    """The frontier, the seed's grid and the choice, for people."""
    for title, points in (
        ("Pareto frontier of recall and warm p95", document.pareto_analysis.frontier),
        ("the seed's grid", document.seed_grid),
    ):
        lines = []
        for point in points:
            said = point.parameters
            graph = f"{said.connectivity}/{said.expansion_add}/{said.dtype}"
            times = "/".join(f"{value:.3f}" for value in (point.p50_ms, point.p95_ms, point.p99_ms))
            change = "not judged" if math.isnan(point.ndcg_delta) else f"{point.ndcg_delta:+.4f}"
            cells = (said.ef, said.topk, graph, f"{point.recall_at_10:.4f}", times, f"{point.cold_p50_ms:.3f}", change)
            lines.append(cells)
        write_table(title, _COLUMNS, lines)
    stopped = sum(row.figures is None for row in rows)
    say(f"{len(rows)} settings, {stopped} of them not measured to the end, over {document.queries} queries")
    chosen, reason = document.optimal_parameters, document.pareto_analysis.selection_reason
    if chosen is None:
        say(f"nothing chosen: {reason}")
        return
    graph = f"M {chosen.connectivity}, efC {chosen.expansion_add}, {chosen.dtype}"
    say(f"chosen: ef {chosen.ef}, topk {chosen.topk}, {graph}; {reason}")
