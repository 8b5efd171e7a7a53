"""Writes a run's artifacts under the names that their readers know."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from acgs.causal.report import counterfactual_rows
from acgs.files import write_atomic
from acgs.release.evidence import write_evidence
from acgs.release.monitoring_config import monitoring_config, write_monitoring_config
from acgs.release.report import CONTRACT_JSON, CONTRACT_MARKDOWN, write_report
from acgs.release.t1.artifacts import (
    CONFIGURATION_FILE,
    COUNTERFACTUAL_FILE,
    COVERAGE_FILE,
    HARVEST_FILE,
    THETA_FILE,
    harvest_document,
    theta_document,
    write_csv,
    write_facts,
    write_model,
)
from acgs.release.t1.facts import facts_of
from acgs.release.t1.gallery import GALLERY_FILE, gallery
from acgs.release.t1.package import INDEX_FOLDER, Findings
from acgs.release.t1.page import PAGE_FILE, page
from acgs.release.t1.plots import (
    COVERAGE,
    GATE,
    PARETO,
    RELIABILITY,
    coverage_plot,
    gate_plot,
    pareto_plot,
    reliability_plot,
)
from acgs.release.t1.promises import COVERAGE_COLUMNS
from acgs.retrieval.configuration import write_configuration
from acgs.retrieval.gate import gate_curve
from acgs.retrieval.index import make_variant
from acgs.retrieval.router.router_file import ROUTER_FILE, write_router

MONITORING_FILE: Final = "production_monitoring_config.json"
EVIDENCE_FILE: Final = "evidence.json"
FACTS_FILE: Final = "t1_facts.json"
T1_INDEX_FOLDER: Final = "t1_index"
"""The index to serve: that of the run, with the BM25 options that were chosen."""
ARTIFACTS: Final = (
    PAGE_FILE,
    CONTRACT_MARKDOWN,
    CONTRACT_JSON,
    FACTS_FILE,
    EVIDENCE_FILE,
    ROUTER_FILE,
    THETA_FILE,
    CONFIGURATION_FILE,
    HARVEST_FILE,
    MONITORING_FILE,
    COVERAGE_FILE,
    COUNTERFACTUAL_FILE,
    GALLERY_FILE,
    PARETO,
    GATE,
    RELIABILITY,
    COVERAGE,
)
_COUNTERFACTUAL_COLUMNS: Final = ("slice_name", "n_samples")


def write_package(found: Findings, output: Path) -> dict[str, Any]:
    """Write everything to `output`; returns the figures.

    Older ones are removed first, all of them, so that what an interruption leaves is of one run. Router, gate and plots
    are left out where the corpus has too few queries for them.
    """
    version = found.contract.candidate.version
    facts = facts_of(found)
    for name in ARTIFACTS:
        (output / name).unlink(missing_ok=True)
    _write_router(found, output, version)
    write_configuration(found.final.configuration, output / CONFIGURATION_FILE)
    make_variant(output / INDEX_FOLDER, output / T1_INDEX_FOLDER, found.final.baseline.bm25)
    write_model(output / HARVEST_FILE, harvest_document(found.swept, version=version, at=found.at))
    change = np.array([item.change for item in found.confirmed])
    write_monitoring_config(
        output / MONITORING_FILE,
        monitoring_config(
            version=version,
            at=found.at,
            # Served requests are timed by the wall clock, and it is the candidate that will serve them.
            baseline_p95_ms=float(np.quantile(found.replayed.candidate_wall_ms, 0.95)),
            # A candidate that is its baseline never differs from it; its watch needs a scale all the same.
            delta_deviation=float(change.std(ddof=1)) or 1.0 / len(change),
        ),
    )
    write_csv(output / COVERAGE_FILE, COVERAGE_COLUMNS, found.coverage_rows)
    rows = counterfactual_rows(found.audits)
    write_csv(output / COUNTERFACTUAL_FILE, tuple(rows[0]) if rows else _COUNTERFACTUAL_COLUMNS, rows)
    write_evidence(output / EVIDENCE_FILE, found.evidence)
    write_report(output, found.contract)
    documents = found.bench.indexes[found.final.baseline.bm25].documents
    queries, judgements = found.collection.queries, found.collection.judgements
    write_atomic(output / GALLERY_FILE, gallery(found.confirmed, queries, judgements, documents).encode())
    plots = _plots(found)
    for name, data in plots.items():
        write_atomic(output / name, data)
    write_facts(output / FACTS_FILE, facts)
    write_atomic(output / PAGE_FILE, page(found, facts, plots).encode())
    return facts


def _write_router(found: Findings, output: Path, version: str) -> None:
    distilled, gate = found.final.routed.distillation, found.final.routed.gate
    if distilled is None or gate is None:
        return
    write_router(output / ROUTER_FILE, distilled, version=version, at=found.at, no_regret=found.regret)
    theta = theta_document(
        gate,
        version=version,
        at=found.at,
        budget_ms=found.plan.budget_ms,
        queries=len(found.confirmed),
        seed=found.plan.seed,
    )
    write_model(output / THETA_FILE, theta)


def _plots(found: Findings) -> dict[str, bytes]:
    """PNG by file name; a plot without data is left out."""
    plots = {
        PARETO: pareto_plot(found.swept.measured, found.swept.frontier),
        COVERAGE: coverage_plot(found.coverage_rows),
    }
    scored = [item for item in found.confirmed if item.predicted_gain is not None]
    if scored:
        gains = np.array([item.full_ndcg - item.baseline_ndcg for item in scored])
        plots[GATE] = gate_plot(gate_curve(np.array([item.predicted_gain for item in scored], dtype=np.float64), gains))
    if found.evidence.forecasts is not None:
        plots[RELIABILITY] = reliability_plot(found.evidence.forecasts)
    return plots
