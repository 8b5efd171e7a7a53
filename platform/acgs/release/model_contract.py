"""The contract of a model version against the one that is live: guards of `release.guards`, margins for models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from acgs.release.contract import Contract, check_waivers, contract_of
from acgs.release.evidence import Evidence
from acgs.release.guards.calibration import ForecastsCalibrated
from acgs.release.guards.guard import DEFAULT_BUDGET, ErrorBudget, Guard
from acgs.release.guards.latency import FEWEST_FOR_P99, QuantileHolds
from acgs.release.guards.quality import EverySliceHolds, QualityHolds
from acgs.release.limit_files import read_yaml

NOT_FOR_ALL: Final = frozenset({"calibration", "quality, slice"})
"""What may mean nothing for a model: one that states no probabilities, data without slices."""
WAIVABLE: Final = NOT_FOR_ALL | {"latency, p99"}
"""What the policy's owner may let a request waive; the p99 needs 500 different rows."""


class ModelMargins(BaseModel):
    """How much worse a version may be: not shown to be worse than this is what a release needs.

    Each has an end: a contract that allows everything is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    quality: float = Field(0.02, ge=0, le=0.1, description="loss of accuracy, or of closeness, over all rows")
    slice_quality: float = Field(0.05, ge=0, le=0.2, description="and in each slice")
    p95_ms: float = Field(5.0, ge=0, le=1000, description="rise of the p95")
    p99_ms: float = Field(
        20.0, ge=0, le=5000, description="rise of the p99; absolute, for ratios of milliseconds are noise"
    )
    calibration_error: float = Field(0.05, gt=0, le=0.25)


def read_margins(path: Path | None) -> ModelMargins:
    """Margins of a YAML file; without one the defaults.

    Raises:
        InvalidInputError: naming the field at fault.
    """
    return read_yaml(path, ModelMargins)


def model_contract(
    evidence: Evidence,
    margins: ModelMargins | None = None,
    *,
    waived: Mapping[str, str] | None = None,
    waivable: Collection[str] = NOT_FOR_ALL,
    budget: ErrorBudget = DEFAULT_BUDGET,
) -> Contract:
    """The contract for evidence of a model.

    A guard about something that this model or these data do not have at all is waived if it may be, and the report says
    so: slices where no row names one, calibration where the model states no probabilities.

    Args:
        waivable: guards that may be waived, of `WAIVABLE`.

    Raises:
        InvalidInputError: a waiver without a reason, or of a guard that cannot be waived.
    """
    margins, waived = margins or ModelMargins(), check_waivers(waived, WAIVABLE.intersection(waivable))
    if evidence.quality is not None and not evidence.quality.slices and "quality, slice" in waivable:
        waived.setdefault("quality, slice", "no held-out row names a slice")
    if evidence.forecasts is None and "calibration" in waivable:
        waived.setdefault("calibration", "the model states no probabilities")
    metric = evidence.quality.metric if evidence.quality is not None else "accuracy"
    guards: tuple[Guard, ...] = (
        QualityHolds("quality, all rows", margin=-margins.quality, expected=0.0, unit=metric),
        EverySliceHolds("quality, slice", -margins.slice_quality, unit=metric),
        QuantileHolds("latency, p95", margins.p95_ms),
        QuantileHolds("latency, p99", margins.p99_ms, FEWEST_FOR_P99, 0.99),
        ForecastsCalibrated("calibration", margins.calibration_error),
    )
    return contract_of("model release contract", guards, waived, budget)
