"""The artifacts of a T1 run, in the schemas that their readers know, with our fields beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict

from acgs.files import write_atomic
from acgs.retrieval.gate import GateSolution

THETA_FILE: Final = "theta_star_production.json"
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
    expected_gain: float
    optimum_gain: float
    duality_gap: float
    final_lambda: float
    late_lambda: float


class OperationalParameters(_Part):
    """How the gate is watched."""

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
            expected_gain=gate.value,
            optimum_gain=gate.optimum,
            duality_gap=gate.gap,
            final_lambda=gate.multiplier,
            late_lambda=gate.late_multiplier,
        ),
        operational_parameters=OperationalParameters(fallback_theta=1.0),
        queries=queries,
        seed=seed,
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
