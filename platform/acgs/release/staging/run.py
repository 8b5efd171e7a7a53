"""Runs all validators on one candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from acgs.governance.decision import Governor
from acgs.release.staging.answers import ask_all
from acgs.release.staging.compliance import check_compliance
from acgs.release.staging.finding import ValidationResult, ValidationType, could_not_run, overall
from acgs.release.staging.health import load_and_check
from acgs.release.staging.held_out import HeldOutRow, distinct_inputs, distinct_rows, rows_digest
from acgs.release.staging.integration import check_integration
from acgs.release.staging.limits import StagingLimits
from acgs.release.staging.performance import check_performance
from acgs.release.staging.response_time import check_response_time
from acgs.serving.served import ServedVersion
from acgs.statistics.evidence import CONFIDENCE, Verdict

Told = Callable[[str], None]
"""Called with what is being done."""


class StagingReport(BaseModel):
    """What staging found. `data_digest` names the held-out rows; `confidence` is that of every bound."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    verdict: Verdict
    results: tuple[ValidationResult, ...]
    limits: StagingLimits
    confidence: float
    data_digest: str
    rows: int
    copies_left_out: int = 0
    guard_bundle: str

    @property
    def measured(self) -> bool:
        """Whether the version answered anything; if not, nobody has learned how good it is."""
        return any(result.n > 0 for result in self.results if result.validation_type != "health_check")


def run_staging(
    load: Callable[[], ServedVersion],
    rows: Sequence[HeldOutRow],
    governor: Governor,
    limits: StagingLimits,
    *,
    confidence: float = CONFIDENCE,
    told: Told = lambda _: None,
) -> StagingReport:
    """Load a candidate, ask it for every row that is no copy of another, and judge.

    Raises:
        InvalidInputError: a limit is about a metric that does not fit the labels.
    """
    rows, given = distinct_rows(rows), len(rows)
    told("loading the version and running its probes")
    served, results = load_and_check(load, memory_mb=limits.memory_mb)
    if served is None:
        results += [could_not_run(kind, "not run", "the version does not load") for kind in _AFTER_LOADING]
    else:
        try:
            results += _judge(served, rows, governor, limits, confidence=confidence, told=told)
        finally:
            served.close()
    return StagingReport(
        verdict=overall(results),
        results=tuple(results),
        limits=limits,
        confidence=confidence,
        data_digest=rows_digest(rows),
        rows=len(rows),
        copies_left_out=given - len(rows),
        guard_bundle=governor.bundle.version,
    )


_AFTER_LOADING: tuple[ValidationType, ...] = (
    "performance_metrics",
    "constitutional_compliance",
    "integration_test",
    "response_time",
)


def _judge(
    served: ServedVersion,
    rows: Sequence[HeldOutRow],
    governor: Governor,
    limits: StagingLimits,
    *,
    confidence: float,
    told: Told,
) -> list[ValidationResult]:
    metadata: dict[str, Any] = served.package.descriptor.metadata
    inputs = distinct_inputs(rows)
    told(f"asking it for {len(rows)} held-out rows")
    answers = ask_all(served, rows)
    results = check_performance(answers, limits.metrics, seed=limits.seed, confidence=confidence)
    told("governance judges its answers")
    results.append(
        check_compliance(answers, governor, limit=limits.compliance, metadata=metadata, confidence=confidence)
    )
    told("integration")
    results += check_integration(served, inputs)
    told(f"{limits.requests} requests from {limits.callers} callers at a time")
    return results + check_response_time(served, inputs, limits, confidence=confidence)
