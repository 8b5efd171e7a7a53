"""What a validator says: a verdict with the figure, its bounds, what is asked, and n."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from acgs.statistics.evidence import Verdict

ValidationType = Literal[
    "constitutional_compliance", "performance_metrics", "response_time", "health_check", "integration_test"
]


class ValidationResult(BaseModel):
    """One figure held against its limit. `lower` and `upper` are one-sided bounds at the report's confidence."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    validation_type: ValidationType
    measure: str
    verdict: Verdict
    score: float | None = None
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    unit: str = ""
    n: int = 0
    reason: str
    details: dict[str, JsonValue] = {}

    @property
    def passed(self) -> bool:
        """Whether the verdict is PASS."""
        return self.verdict is Verdict.PASS


def could_not_run(validation_type: ValidationType, measure: str, reason: str, *, n: int = 0) -> ValidationResult:
    """A validator without what it needs: INSUFFICIENT, which blocks."""
    return ValidationResult(
        validation_type=validation_type, measure=measure, verdict=Verdict.INSUFFICIENT, reason=reason, n=n
    )


def overall(results: Iterable[ValidationResult]) -> Verdict:
    """PASS only if all are; a FAIL is stronger than what is not known."""
    verdicts = [result.verdict for result in results]
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts and set(verdicts) == {Verdict.PASS} else Verdict.INSUFFICIENT


def at_least(lower: float, upper: float, limit: float) -> Verdict:
    """Whether a figure is shown to reach a limit, shown to miss it, or neither."""
    if lower >= limit:
        return Verdict.PASS
    return Verdict.FAIL if upper < limit else Verdict.INSUFFICIENT
