"""The figures of a run as one JSON document; every number on the report's page comes from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from acgs.release.evidence import LatencyPairs
from acgs.release.guards.quality import quality_bounds
from acgs.release.t1.confirmation import Confirmed
from acgs.release.t1.package import Findings
from acgs.release.t1.tuning import standard_error
from acgs.retrieval.configuration import Route
from acgs.retrieval.router.outputs import OUTPUTS
from acgs.retrieval.slices import GLOBAL
from acgs.statistics.bootstrap import paired_quantile_change
from acgs.statistics.evidence import CONFIDENCE, InsufficientDataError


def facts_of(found: Findings) -> dict[str, Any]:
    """Quality by slice, gate, latency and choices."""
    return {
        "documents": len(found.collection.documents),
        "judged_queries": len(found.confirmed),
        "unjudged_queries": len(found.collection.unjudged),
        "encoder": found.bench.encoder.name,
        "seed": found.plan.seed,
        "folds": found.plan.folds,
        "divisions": found.divisions,
        "verdict": str(found.contract.verdict),
        "candidate_is_baseline": not found.reranks,
        "quality": {name: _quality(found, name, members) for name, members in found.slices.items() if members},
        "gate": gate_facts(found.confirmed),
        "router": _router(found),
        "latency_ms": _latency(found),
        "route_costs_ms": {
            str(depth): dict(zip(("none", "cheap", "full"), costs.mean_ms.tolist(), strict=True))
            for depth, costs in found.costs.items()
        },
        "shipped": {
            "bm25": found.final.baseline.bm25.model_dump(),
            "tau": found.final.baseline.tau,
            "depth": found.final.learned.depth,
            "route": found.final.configuration.route.value,
            "shrinkage": list(found.final.learned.shrinkage),
            "gate": None if found.final.configuration.gate is None else found.final.configuration.gate.theta_star,
            "why_no_gate": _why_no_gate(found),
            "in_sample_baseline_ndcg": found.final.baseline.ndcg,
        },
        "chosen_by_fold": [
            {
                "bm25": item.baseline.bm25.model_dump(),
                "tau": item.baseline.tau,
                "depth": item.learned.depth,
                "route": item.configuration.route.value,
                "gate": None if item.routed.gate is None else [*item.routed.gate.routed],
                "shrinkage": list(item.learned.shrinkage),
            }
            for item in found.choices
        ],
    }


def gate_facts(confirmed: Sequence[Confirmed]) -> dict[str, float]:
    """What the gate did with unseen queries, against always reranking and against knowing the outcome."""
    served = np.array([item.change for item in confirmed])
    always = np.array([item.full_ndcg - item.baseline_ndcg for item in confirmed])
    fired = np.array([item.candidate.route in (Route.CHEAP, Route.FULL) for item in confirmed])
    return {
        "fired": float(fired.mean()),
        "gain": float(served.mean()),
        "gain_always": float(always.mean()),
        "gain_oracle": float(np.maximum(always, 0).mean()),
        "oracle_fires": float((always > 0).mean()),
    }


def _why_no_gate(found: Findings) -> str | None:
    if found.final.configuration.gate is not None:
        return None
    return found.final.routed.reason or "its thresholds part no queries"


def _router(found: Findings) -> dict[str, Any] | None:
    """How well the shipped tables follow their teacher, and what following them may lose; None without a router."""
    distilled, regret = found.final.routed.distillation, found.regret
    if distilled is None or regret is None:
        return None
    return {
        "held_out_r2": {name: distilled.fidelity[name].held_out_r2 for name in OUTPUTS},
        "decision_agreement": distilled.fidelity["gain"].decision_agreement,
        "no_regret": {"holds": regret.holds, "lower": regret.lower, "margin": regret.margin, "n": regret.n},
    }


def _quality(found: Findings, name: str, members: Sequence[str]) -> dict[str, float | int | None]:
    pairs = found.evidence.quality
    assert pairs is not None  # every run confirms
    held = np.isin(pairs.queries, members)
    base, candidate = pairs.baseline[held], pairs.candidate[held]
    change = candidate - base
    return {
        "queries": len(members),
        "t0_ndcg10": float(base.mean()),
        "t1_ndcg10": float(candidate.mean()),
        "change": float(change.mean()),
        "lcb95": _lower(found, name),
        "standard_error": standard_error(change) if len(change) > 1 else None,
    }


def _lower(found: Findings, name: str) -> float | None:
    """The bound that the contract judges by; 0 of a candidate that is the baseline by construction.

    That the contract cannot see: it judges the answers alone.
    """
    if not found.reranks:
        return 0.0
    try:
        _, bounds = quality_bounds(
            found.evidence.quality, None if name == GLOBAL else name, CONFIDENCE, found.plan.seed
        )
    except InsufficientDataError:
        return None
    return bounds.lower


def _latency(found: Findings) -> dict[str, Any]:
    replayed, pairs = found.replayed, found.evidence.latency
    assert pairs is not None  # every run replays
    sides = {
        "t0": replayed.baseline_ms,
        "t1": replayed.candidate_ms,
        "t0_wall": replayed.baseline_wall_ms,
        "t1_wall": replayed.candidate_wall_ms,
    }
    figures = {
        name: dict(zip(("p50", "p95", "p99"), np.quantile(values, [0.5, 0.95, 0.99]).tolist(), strict=True))
        for name, values in sides.items()
    }
    return {
        "requests": len(replayed.baseline_ms),
        "queries": pairs.requests,
        **figures,
        "p95_change": figures["t1"]["p95"] - figures["t0"]["p95"],
        "p95_change_ucb95": _most_p95_change(pairs, found.plan.seed),
    }


def _most_p95_change(pairs: LatencyPairs, seed: int) -> float | None:
    """Upper bound, 95 %; None where too few requests were timed for any."""
    try:
        return paired_quantile_change(
            pairs.baseline_ms, pairs.candidate_ms, 0.95, clusters=pairs.cluster_numbers(), seed=seed
        ).upper
    except InsufficientDataError:
        return None
