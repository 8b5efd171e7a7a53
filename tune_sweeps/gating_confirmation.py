"""Is the best trial's gate what it seemed? Judged on queries that no trial has seen, and written as it was judged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from acgs.release.evidence import Evidence, QualityPairs, Split, System
from acgs.release.guards.guard import GuardResult
from acgs.release.guards.quality import QualityHolds
from acgs.release.t1.artifacts import CONFIGURATION_FILE, THETA_FILE, theta_document, write_csv, write_model
from acgs.release.t1.confirmation import Choice, Workbench, choose
from acgs.release.t1.tuning import tables_against_teacher
from acgs.retrieval.configuration import write_configuration
from acgs.retrieval.gate import gate_curve
from acgs.retrieval.router.fidelity import no_regret
from acgs.retrieval.router.router_file import ROUTER_FILE, write_router
from acgs.statistics.evidence import Floats, Verdict
from tune_sweeps.gating_config import FoldFigures, GatingConfig, GatingRow, keeps_limits, score
from tune_sweeps.gating_work import Answered, RouteTimes, Rows, answer
from tune_sweeps.retrieval_work import Part

CONFIRMATION_FILE: Final = "gating_confirmation.json"
CURVE_FILE: Final = "gate_curve.csv"
CURVE_COLUMNS: Final = ("fired", "gain", "oracle", "hits", "false_alarms")


class Confirmation(Part):
    """The sweep's answer. Without a trial, or queries enough for a gate, there is only a verdict and its reason."""

    version: str
    verdict: Verdict
    reason: str
    trial: GatingRow | None = None
    held_out: FoldFigures | None = None
    """On the split that no trial has seen."""
    gain_always: float | None = None
    """With the full rerank of every query."""
    gain_oracle: float | None = None
    """With the full rerank of exactly the queries that gain."""
    guard: GuardResult | None = None
    """The lower bound of the gain."""


def too_few(version: str, reason: str) -> Confirmation:
    """The answer where the corpus is too small for a gate or for its confirmation."""
    return Confirmation(version=version, verdict=Verdict.INSUFFICIENT, reason=reason)


def confirm(
    bench: Workbench,
    config: GatingConfig,
    best: GatingRow,
    times: RouteTimes,
    *,
    training: Rows,
    held_out: Rows,
    version: str,
    at: datetime,
    output: Path,
) -> Confirmation:
    """Choose on all training queries as the best trial did, answer the held-out ones, and write what was judged.

    Router, gate, configuration and the gate's curve are written whatever the verdict, so that it can be looked into.

    Args:
        bench: of the driver, whose plan is exchanged for the trial's.
        times: of the routes at the trial's depth.
    """
    bench.plan = best.trial.plan(config.plan)
    choice = choose(bench, training, {best.trial.depth: times.under(best.trial.p95_margin_ms)})
    if choice.routed.gate is None:
        return too_few(version, choice.routed.reason)
    costs = times.under(config.limits.p95_margin_ms).over(choice.baseline.tau)
    answered = answer(bench, choice, held_out)
    seen = answered.figures(config.plan.folds, costs, gated=True)
    names = [bench.judged(choice.baseline)[row].id for row in held_out]
    guard = QualityHolds("gain of the gate on held-out queries").check(
        _evidence(names, answered, choice, seed=config.seed)
    )
    verdict, reason = guard.verdict, guard.reason
    if verdict is Verdict.PASS and not keeps_limits(score([seen], config.limits, float(costs.late[0]))):
        verdict = Verdict.FAIL
        reason = f"the gate adds {seen.cost_ms:.2f} ms and makes {seen.late:.1%} of the queries late: past the limits"
    _write_gate(bench, config, choice, training, version=version, at=at, output=output)
    _write_curve(answered, output)
    always = answered.full - answered.baseline
    return Confirmation(
        version=version,
        verdict=verdict,
        reason=reason,
        trial=best,
        held_out=seen,
        gain_always=float(always.mean()),
        gain_oracle=float(np.maximum(always, 0).mean()),
        guard=guard,
    )


def write_confirmation(output: Path, found: Confirmation) -> None:
    """Write the answer; it is the last file of a sweep."""
    write_model(output / CONFIRMATION_FILE, found)


def _evidence(names: Sequence[str], answered: Answered, choice: Choice, *, seed: int) -> Evidence:
    baseline = choice.baseline.bm25.model_dump_json() + repr(choice.baseline.tau)
    routed = choice.routed.distillation
    digest = "" if routed is None else routed.data_digest
    return Evidence(
        baseline=System(name="T0", version="single stage", digest=_digest([baseline])),
        candidate=System(
            name="T1", version=choice.configuration.version, digest=_digest([choice.configuration.version, digest])
        ),
        split=Split(name="queries that no trial has seen", digest=_digest(names)),
        seed=seed,
        quality=QualityPairs(queries=tuple(names), baseline=answered.baseline, candidate=answered.candidate),
    )


def _write_gate(
    bench: Workbench,
    config: GatingConfig,
    choice: Choice,
    training: Rows,
    *,
    version: str,
    at: datetime,
    output: Path,
) -> None:
    distilled, gate = choice.routed.distillation, choice.routed.gate
    assert distilled is not None and gate is not None
    deltas = tables_against_teacher(choice.learned, choice.routed)
    named = choice.configuration.version
    write_router(output / ROUTER_FILE, distilled, version=named, at=at, no_regret=no_regret(deltas, seed=config.seed))
    write_configuration(choice.configuration, output / CONFIGURATION_FILE)
    theta = theta_document(
        gate, version=named, at=at, budget_ms=bench.plan.budget_ms, queries=len(training), seed=config.seed
    )
    write_model(output / THETA_FILE, theta)


def _write_curve(answered: Answered, output: Path) -> None:
    curve = gate_curve(answered.predicted, answered.full - answered.baseline)
    columns: list[Floats] = [getattr(curve, name) for name in CURVE_COLUMNS]
    rows = [
        dict(zip(CURVE_COLUMNS, values, strict=True)) for values in zip(*(c.tolist() for c in columns), strict=True)
    ]
    write_csv(output / CURVE_FILE, CURVE_COLUMNS, rows)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(orjson.dumps(list(parts))).hexdigest()
