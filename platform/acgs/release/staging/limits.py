"""What staging asks of a candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from acgs.release.limit_files import read_yaml

Share = Annotated[float, Field(gt=0, le=1)]


LOWEST_COMPLIANCE: Final = 0.5


class StagingLimits(BaseModel):
    """Limits, each held against a bound at the confidence of the attempt, never against the figure itself.

    Defaults as published.

    They may be loosened to fit a task, not to nothing: some metric is always judged, and most answers have to comply.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    compliance: float = Field(0.95, ge=LOWEST_COMPLIANCE, le=1)
    metrics: dict[str, Share] = Field(
        {"accuracy": 0.85, "precision": 0.80, "recall": 0.80, "f1": 0.80},
        min_length=1,
        description="at least so much; for numbers: r2 or closeness",
    )
    mean_response_seconds: float = Field(2.0, gt=0)
    p95_response_seconds: float = Field(1.5, gt=0)
    callers: int = Field(4, ge=1, le=64, description="who ask at the same time")
    requests: int = Field(400, ge=60, le=100_000, description="under load; more where the p95's bound needs them")
    memory_mb: float = Field(1024.0, gt=0, description="that loading it may take")
    seed: int = Field(0, ge=0, le=2**32 - 1)


def read_limits(path: Path | None) -> StagingLimits:
    """Limits of a YAML file; without one the defaults.

    Raises:
        InvalidInputError: naming the field at fault.
    """
    return read_yaml(path, StagingLimits)
