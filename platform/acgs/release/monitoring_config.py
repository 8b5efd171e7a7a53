"""What is watched after a release, as a document: thresholds, triggers, and how often they may trip falsely."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.statistics.betting import Alternative
from acgs.statistics.multiplicity import alpha_per_trigger

MONITORING_CONFIG: Final = "production_monitoring_config.json"
MINUTES_A_DAY: Final = 1440
P95_MISSES: Final = 0.05
"""Share of requests that may be slower than the p95."""
IMPORTANCE: Final[Mapping[str, float]] = {
    "quality_regression": 4,
    "hard_nl_regression": 3,
    "latency_breach": 2,
    "stability_loss": 1,
    "underconfidence": 1,
    "overconfidence": 1,
}
"""How alpha is shared out: what has more of it is found sooner."""

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class Signal(StrEnum):
    """What a minute of traffic is measured by; each value is of one request or one pair."""

    DELTA = "delta_ndcg"
    """Candidate minus baseline on a probe query, in [-1, 1]."""
    HARD_NL_DELTA = "hard_nl_delta_ndcg"
    LATENCY = "latency_ms"
    """What a search took, `total_ms` of its answer; the way there and back is not in it, nor in the limit.

    It is judged by whether it exceeds `limit`, so the values watched are 0 or 1.
    """
    OVERLAP = "jaccard_at_10"
    """Approximate against exact search, in [0, 1]."""
    RESIDUAL = "calibration_residual"
    """What happened (0 or 1) less the probability that was stated, in [-1, 1]."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AlertThresholds(_Part):
    """Readings of a single window that are worth a look; they roll nothing back."""

    global_ndcg_lcb: float = -0.01
    hard_nl_ndcg_lcb: float = -0.01
    p95_latency_max: Positive
    p99_p95_ratio_max: Positive = 2.0
    jaccard_min: Share = 0.98
    aece_drift_max: Share = 0.01


class RollbackTriggers(_Part):
    """What is lost when a trigger trips.

    `quality_regression_windows` windows are seen before quality may trip. `latency_breach_threshold` is in ms,
    `stability_loss_threshold` a Jaccard@10, `calibration_drift_threshold` a probability.
    """

    quality_regression_windows: Annotated[int, Field(ge=1)] = 3
    latency_breach_threshold: Positive
    stability_loss_threshold: Share = 0.75
    calibration_drift_threshold: Share = 0.02


class Trigger(_Part):
    """A watch on the mean of one signal: it trips on evidence that the mean has moved beyond `mean`.

    `shift` is the change worth finding at once, in the unit of the values. `minimum_n` values are needed before it may
    trip, and in a window before the window says anything. `alpha` is spent over the `looks` of the document.
    """

    signal: Signal
    method: Literal["betting, from the start and from any window"] = "betting, from the start and from any window"
    mean: float
    low: float
    high: float
    alternative: Alternative
    shift: Positive
    alpha: Share
    minimum_n: Annotated[int, Field(ge=1)]
    minimum_windows: Annotated[int, Field(ge=1)] = 1
    limit: Positive | None = None

    @model_validator(mode="after")
    def _can_be_watched(self) -> Self:
        if not self.low < self.mean < self.high or self.shift >= self.high - self.low:
            raise ValueError("the mean must lie inside the range, and the shift be smaller than it")
        if (self.signal == Signal.LATENCY) != (self.limit is not None):
            raise ValueError("latency, and nothing else, is watched against a limit")
        return self


class MonitoringConfig(_Part):
    """`production_monitoring_config.json`.

    In a period of `looks` windows any trigger trips falsely with at most `alpha`; then the watches start anew.
    """

    format: Literal["acgs-monitoring/1"] = "acgs-monitoring/1"
    monitoring_system: Literal["acgs"] = "acgs"
    version: str
    timestamp: AwareDatetime
    measurement_interval_seconds: Annotated[int, Field(ge=1)] = 60
    looks: Annotated[int, Field(ge=1)] = MINUTES_A_DAY
    alpha: Share = 0.05
    alert_thresholds: AlertThresholds
    rollback_triggers: RollbackTriggers
    triggers: dict[str, Trigger]

    @model_validator(mode="after")
    def _alpha_is_kept(self) -> Self:
        # Shares of alpha add up to it but for the last digit.
        if not self.triggers or sum(trigger.alpha for trigger in self.triggers.values()) > self.alpha * (1 + 1e-9):
            raise ValueError("there must be a trigger, and the alphas of all must not exceed alpha together")
        return self


def monitoring_config(
    *,
    version: str,
    at: AwareDatetime,
    baseline_p95_ms: float,
    delta_deviation: float,
    alpha: float = 0.05,
    importance: Mapping[str, float] = IMPORTANCE,
) -> MonitoringConfig:
    """The configuration for a release, from what its evidence measured.

    Args:
        baseline_p95_ms: p95 of the latency in force, in ms; one tenth more is alerted on and one fifth more trips.
        delta_deviation: standard deviation of the paired deltas of nDCG@10; a tenth of it is worth finding.
        importance: weight of each trigger in sharing out alpha.

    Raises:
        InvalidInputError: figures that make no watch.
    """
    try:
        limits = RollbackTriggers(latency_breach_threshold=1.2 * baseline_p95_ms)
        watches = _watches(limits, delta_deviation)
        alphas = alpha_per_trigger(alpha, importance)
        if set(alphas) != set(watches):
            raise InvalidInputError(f"name the importance of {', '.join(watches)}", field="importance")
        return MonitoringConfig(
            version=version,
            timestamp=at,
            alpha=alpha,
            alert_thresholds=AlertThresholds(p95_latency_max=1.1 * baseline_p95_ms),
            rollback_triggers=limits,
            triggers={
                name: Trigger.model_validate({**fields, "alpha": alphas[name]}) for name, fields in watches.items()
            },
        )
    except ValidationError as error:
        raise InvalidInputError(f"no watch can be made of this: {_complaint(error)}") from error


def read_monitoring_config(path: Path) -> MonitoringConfig:
    """Read the document.

    Raises:
        InvalidInputError: it is absent or not a monitoring configuration.
    """
    try:
        return MonitoringConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read; write it with the release") from error
    except ValidationError as error:
        raise InvalidInputError(f"{path} is not a monitoring configuration: {_complaint(error)}") from error


def write_monitoring_config(path: Path, config: MonitoringConfig) -> None:
    """Write the document, whole or not at all."""
    write_atomic(path, config.model_dump_json(indent=1).encode() + b"\n")


def _watches(limits: RollbackTriggers, deviation: float) -> dict[str, dict[str, object]]:
    quality = {
        "mean": 0.0,
        "low": -1.0,
        "high": 1.0,
        "alternative": "below",
        "shift": 0.1 * deviation,
        "minimum_n": 30,
        "minimum_windows": limits.quality_regression_windows,
    }
    drift = limits.calibration_drift_threshold
    residual = {"signal": Signal.RESIDUAL, "low": -1.0, "high": 1.0, "shift": drift, "minimum_n": 30}
    return {
        "quality_regression": {"signal": Signal.DELTA, **quality},
        "hard_nl_regression": {"signal": Signal.HARD_NL_DELTA, **quality},
        "latency_breach": {
            "signal": Signal.LATENCY,
            "limit": limits.latency_breach_threshold,
            "mean": P95_MISSES,
            "low": 0.0,
            "high": 1.0,
            "alternative": "above",
            "shift": P95_MISSES,
            "minimum_n": 100,
        },
        "stability_loss": {
            "signal": Signal.OVERLAP,
            "mean": limits.stability_loss_threshold,
            "low": 0.0,
            "high": 1.0,
            "alternative": "below",
            "shift": 0.05,
            "minimum_n": 30,
        },
        "underconfidence": {**residual, "mean": drift, "alternative": "above"},
        "overconfidence": {**residual, "mean": -drift, "alternative": "below"},
    }


def _complaint(error: ValidationError) -> str:
    """Which fields, and why, without what they hold."""
    found = error.errors(include_input=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'the document'}: {item['msg']}" for item in found)
