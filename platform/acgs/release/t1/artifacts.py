"""The artifacts of a T1 run, in the schemas that their readers know, with our fields beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict

from acgs.files import write_atomic
from acgs.release.guards.overlap import JACCARD
from acgs.release.t1.sweep import Swept
from acgs.retrieval.gate import GateSolution
from acgs.retrieval.harvest import LEAST_RECALL, Measured

THETA_FILE: Final = "theta_star_production.json"
HARVEST_FILE: Final = "latency_harvest_config.json"
COVERAGE_FILE: Final = "conformal_coverage_report.csv"
COUNTERFACTUAL_FILE: Final = "counterfactual_audit_fixed.csv"
CONFIGURATION_FILE: Final = "t1_configuration.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GateParameters(_Part):
    """The thresholds, in points of predicted nDCG@10 gain as a fraction."""

    theta_star: float
    theta_early_exit: float
    delta: float


class GatePerformance(_Part):
    """What the thresholds cost and yield on the queries they were chosen on."""

    budget_constraint_ms: float
    expected_early_exit_fraction: float
    expected_expensive_fraction: float
    expected_cost_ms: float
    expected_late_fraction: float
    expected_gain_lower_bound: float
    """Mean of nDCG@10 that the routes surely gain, by the bounds that the gate is set on."""
    optimum_gain_lower_bound: float
    """The same of the exact solution."""
    duality_gap: float
    final_lambda: float
    late_lambda: float


class OperationalParameters(_Part):
    """Fields that readers of this document know. This platform reads `production_monitoring_config.json` instead."""

    monitoring_interval_seconds: int = 60
    adaptation_window_hours: int = 24
    fallback_theta: float


class ThetaStar(_Part):
    """`theta_star_production.json`."""

    gating_type: str = "two_stage"
    version: str
    timestamp: datetime
    parameters: GateParameters
    performance_characteristics: GatePerformance
    operational_parameters: OperationalParameters
    queries: int
    seed: int


def theta_document(
    gate: GateSolution, *, version: str, at: datetime, budget_ms: float, queries: int, seed: int
) -> ThetaStar:
    """The gate's document. The fallback, where no gain is predicted, is a threshold that no gain reaches."""
    return ThetaStar(
        version=version,
        timestamp=at,
        parameters=GateParameters(
            theta_star=gate.theta_star, theta_early_exit=gate.theta_star - gate.delta, delta=gate.delta
        ),
        performance_characteristics=GatePerformance(
            budget_constraint_ms=budget_ms,
            expected_early_exit_fraction=gate.routed[1],
            expected_expensive_fraction=gate.routed[2],
            expected_cost_ms=gate.cost_ms,
            expected_late_fraction=gate.late,
            expected_gain_lower_bound=gate.value,
            optimum_gain_lower_bound=gate.optimum,
            duality_gap=gate.gap,
            final_lambda=gate.multiplier,
            late_lambda=gate.late_multiplier,
        ),
        operational_parameters=OperationalParameters(fallback_theta=1.0),
        queries=queries,
        seed=seed,
    )


class HarvestParameters(_Part):
    """A setting."""

    ef: int
    topk: int
    connectivity: int
    expansion_add: int
    dtype: str


class HarvestPerformance(_Part):
    """What the setting showed on the run's queries."""

    expected_p95_latency: float
    """Milliseconds, warm."""
    expected_ndcg_delta: float
    """Against exact search."""
    expected_jaccard_at_10: float
    expected_recall_at_10: float
    exact_p50_latency: float
    cold_p95_latency: float


class HarvestConstraints(_Part):
    """What was demanded, and whether it held."""

    ndcg_non_negative: bool
    sign_match_required: bool = True
    sign_match: bool
    jaccard_protection: float = JACCARD
    least_recall: float


class HarvestPoint(_Part):
    """One setting with its figures."""

    parameters: HarvestParameters
    recall_at_10: float
    ndcg_delta: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    requests: int
    """That the quantiles are of."""
    cold_p50_ms: float
    paired_p50_change_ms: float
    """Against the baseline setting, over the same queries."""
    sign_match: bool
    build_cpu_seconds: float
    memory_bytes: int


class ParetoAnalysis(_Part):
    """The frontier of recall and warm p95."""

    frontier_points: int
    selection_reason: str
    frontier: tuple[HarvestPoint, ...]


class HarvestDocument(_Part):
    """`latency_harvest_config.json`."""

    harvest_mode: str = "paired_replay"
    version: str
    timestamp: datetime
    optimal_parameters: HarvestParameters | None
    performance_characteristics: HarvestPerformance | None
    constraints: HarvestConstraints | None
    served: HarvestPoint
    """In service. Another ef or topk is a new configuration, another graph a new index."""
    pareto_analysis: ParetoAnalysis
    measured: tuple[HarvestPoint, ...]
    seed_grid: tuple[HarvestPoint, ...]
    queries: int


def harvest_document(swept: Swept, *, version: str, at: datetime) -> HarvestDocument:
    """The harvest's document; without a setting that reaches the recall it names none."""
    chosen = swept.chosen
    points = {item.setting: _point(item, swept) for item in (*swept.measured, *swept.seed_grid)}
    return HarvestDocument(
        version=version,
        timestamp=at,
        optimal_parameters=None if chosen is None else points[chosen.setting].parameters,
        performance_characteristics=None
        if chosen is None
        else HarvestPerformance(
            expected_p95_latency=chosen.p95_ms,
            expected_ndcg_delta=swept.ndcg_change[chosen.setting],
            expected_jaccard_at_10=float(chosen.overlaps.mean()),
            expected_recall_at_10=chosen.recall,
            exact_p50_latency=swept.exact_p50_ms,
            cold_p95_latency=float(np.quantile(chosen.cold_ms, 0.95)),
        ),
        constraints=None
        if chosen is None
        else HarvestConstraints(
            ndcg_non_negative=swept.ndcg_change[chosen.setting] >= 0,
            sign_match=chosen.sign_consistent,
            least_recall=LEAST_RECALL,
        ),
        served=points[swept.served.setting],
        pareto_analysis=ParetoAnalysis(
            frontier_points=len(swept.frontier),
            selection_reason=f"no setting reaches recall {LEAST_RECALL}"
            if chosen is None
            else f"least warm p95 with recall@10 of {LEAST_RECALL} or more and no loss of nDCG@10 against exact search"
            if swept.ndcg_change[chosen.setting] >= 0
            else f"least warm p95 with recall@10 of {LEAST_RECALL} or more; every such setting loses some nDCG@10",
            frontier=tuple(points[item.setting] for item in swept.frontier),
        ),
        measured=tuple(points[item.setting] for item in swept.measured),
        seed_grid=tuple(points[item.setting] for item in swept.seed_grid),
        queries=len(swept.served.overlaps),
    )


def _point(item: Measured, swept: Swept) -> HarvestPoint:
    options = item.setting.graph
    p50, p95, p99 = (float(value) for value in np.quantile(item.warm_ms, [0.5, 0.95, 0.99]))
    return HarvestPoint(
        parameters=HarvestParameters(
            ef=item.setting.ef,
            topk=item.setting.topk,
            connectivity=options.connectivity,
            expansion_add=options.expansion_add,
            dtype=options.dtype,
        ),
        recall_at_10=item.recall,
        ndcg_delta=swept.ndcg_change[item.setting],
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        requests=len(item.warm_ms),
        cold_p50_ms=float(np.median(item.cold_ms)),
        paired_p50_change_ms=float(np.median(item.warm_ms - item.baseline_warm_ms)),
        sign_match=item.sign_consistent,
        build_cpu_seconds=item.build_seconds,
        memory_bytes=item.memory_bytes,
    )


def write_model(path: Path, document: BaseModel) -> None:
    """Write a document as JSON."""
    write_atomic(path, document.model_dump_json(indent=1).encode() + b"\n")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with a header; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if row.get(name) is None else row[name] for name in columns} for row in rows)
    write_atomic(path, text.getvalue().encode())


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON document of figures."""
    write_atomic(path, orjson.dumps(facts, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
