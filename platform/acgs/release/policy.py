"""The release policy: what whoever stages and promotes may ask for at most. The platform's owner sets it, nobody else.

A request may be as strict as it likes. One that is looser than the policy is refused, with the field named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from operator import ge, le
from typing import Any, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from acgs.audit.receipts import Digest
from acgs.errors import InvalidInputError
from acgs.registry.semver import ModelName
from acgs.release.contract import check_waivers
from acgs.release.model_contract import NOT_FOR_ALL, WAIVABLE, ModelMargins
from acgs.release.staging.held_out import HeldOutRow, distinct_rows, rows_digest
from acgs.release.staging.limits import LOWEST_COMPLIANCE, Share, StagingLimits
from acgs.release.staging.performance import CLASSIFICATION, REGRESSION, is_regression
from acgs.serving.deployments.record import RampPlan

PARTS: Final = ("staging", "margins", "ramp")
"""What a model's rules change field by field; every other field is replaced whole."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoosestStaging(_Part):
    """The loosest limits that staging may be asked to judge by."""

    compliance: float = Field(0.9, ge=LOWEST_COMPLIANCE, le=1, description="at least")
    metrics: dict[str, Share] = Field(
        {"accuracy": 0.7, "closeness": 0.7},
        description="each of these that fits the labels must be asked for, with at least so much",
    )
    mean_response_seconds: float = Field(10.0, gt=0, description="at most")
    p95_response_seconds: float = Field(10.0, gt=0, description="at most")
    callers: int = Field(1, ge=1, le=64, description="at least")
    requests: int = Field(60, ge=60, le=100_000, description="at least")
    memory_mb: float = Field(16_384.0, gt=0, description="at most")

    @field_validator("metrics")
    @classmethod
    def _are_known(cls, metrics: dict[str, float]) -> dict[str, float]:
        known = (*CLASSIFICATION, *REGRESSION)
        if unknown := sorted(set(metrics) - set(known)):
            raise ValueError(f"{', '.join(unknown)}: no metric of staging; these are: {', '.join(known)}")
        return metrics


class LoosestMargins(_Part):
    """The loosest margins of a contract; each at most."""

    quality: float = Field(0.05, ge=0, le=0.1)
    slice_quality: float = Field(0.1, ge=0, le=0.2)
    p95_ms: float = Field(100.0, ge=0, le=1000)
    p99_ms: float = Field(200.0, ge=0, le=5000)
    calibration_error: float = Field(0.1, gt=0, le=0.25)


class LoosestRamp(_Part):
    """How a version may come to all of the traffic at the quickest, and how much worse it may do on the way."""

    first_step: int = Field(100, ge=1, le=100, description="percent of the callers, at most")
    observe_seconds: float = Field(0.0, ge=0, description="at least")
    minimum_requests: int = Field(1, ge=1, description="at least")
    watch_seconds: float = Field(0.0, ge=0, description="at least")
    error_margin: float = Field(0.1, ge=0, lt=1, description="at most")
    slower_factor: float = Field(2.0, ge=1, description="at most")
    slower_seconds: float = Field(1.0, ge=0, description="at most")
    slow_share: float = Field(0.5, gt=0.05, lt=1, description="at most")
    alpha: float = Field(0.01, gt=0, lt=0.5, description="at least: one that is hardly ever sent back is not watched")


class ModelRules(_Part):
    """What holds for one model."""

    staging: LoosestStaging = LoosestStaging()
    margins: LoosestMargins = LoosestMargins()
    ramp: LoosestRamp = LoosestRamp()
    waivable: tuple[str, ...] = Field(tuple(sorted(NOT_FOR_ALL)), description="guards that may be waived")
    fewest_rows: int = Field(50, ge=30, le=1_000_000, description="distinct held-out rows with a label")
    most_attempts: int = Field(5, ge=1, le=10, description="at each kind of document, about the same files")
    attempts_of: Literal["files", "model"] = Field(
        "files", description="what makes attempts pay for each other: the same files, or the same model being promoted"
    )
    held_out: Digest | None = Field(None, description="digest of the rows that must be used; default: any")
    contract_held_out: Digest | None = Field(
        None, description="of those that a contract must use; default: those of the version's staging"
    )

    @field_validator("waivable")
    @classmethod
    def _may_mean_nothing(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := sorted(set(names) - WAIVABLE):
            raise ValueError(f"{', '.join(wrong)} cannot be waived; only these can: {', '.join(sorted(WAIVABLE))}")
        return tuple(sorted(set(names)))

    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON (RFC 8785): under which rules a document was made."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()

    def check_staging(self, limits: StagingLimits, rows: Sequence[HeldOutRow]) -> None:
        """Whether staging may be asked for this.

        Raises:
            InvalidInputError: naming the field that is looser than the policy, or the rows.
        """
        loosest = self.staging
        for name in ("compliance", "callers", "requests"):
            _no_looser(f"limits.{name}", getattr(limits, name), getattr(loosest, name), strict=ge)
        for name in ("mean_response_seconds", "p95_response_seconds", "memory_mb"):
            _no_looser(f"limits.{name}", getattr(limits, name), getattr(loosest, name), strict=le)
        for name, least in self._metrics_for(rows).items():
            asked = limits.metrics.get(name)
            if asked is None:
                raise _refused(f"limits.metrics.{name}", f"{name} must be asked for, with at least {least:g}")
            _no_looser(f"limits.metrics.{name}", asked, least, strict=ge)
        self._check_rows(rows, self.held_out)

    def check_contract(
        self,
        margins: ModelMargins,
        waived: Mapping[str, str],
        rows: Sequence[HeldOutRow],
        *,
        staged_on: str | None,
    ) -> None:
        """Whether a contract may be asked for this.

        Args:
            staged_on: digest of the rows of the version's staging; None: it was not staged yet.

        Raises:
            InvalidInputError: naming the field that is looser than the policy, or the rows; a waiver without a reason.
        """
        for name in LoosestMargins.model_fields:
            _no_looser(f"margins.{name}", getattr(margins, name), getattr(self.margins, name), strict=le)
        check_waivers(waived, frozenset(self.waivable))
        self._check_rows(rows, self.contract_rows(staged_on))

    def check_ramp(self, plan: RampPlan) -> None:
        """Whether a promotion may go this way.

        Raises:
            InvalidInputError: naming the field that is looser than the policy.
        """
        _no_looser("plan.steps", plan.steps[0], self.ramp.first_step, strict=le)
        for name in ("observe_seconds", "minimum_requests", "watch_seconds", "alpha"):
            _no_looser(f"plan.{name}", getattr(plan, name), getattr(self.ramp, name), strict=ge)
        for name in ("error_margin", "slower_factor", "slower_seconds", "slow_share"):
            _no_looser(f"plan.{name}", getattr(plan, name), getattr(self.ramp, name), strict=le)

    def contract_rows(self, staged_on: str | None) -> str | None:
        """Digest of the rows that a contract must use; None: any, because nothing names them yet."""
        return self.contract_held_out or self.held_out or staged_on

    def _metrics_for(self, rows: Sequence[HeldOutRow]) -> dict[str, float]:
        labels = [row.label for row in rows if row.label is not None]
        fitting = REGRESSION if labels and is_regression(labels) else CLASSIFICATION
        found = {name: least for name, least in self.staging.metrics.items() if name in fitting}
        if not found:
            raise _refused("rows", f"it states no metric for labels of this kind (one of {', '.join(fitting)})")
        return found

    def _check_rows(self, rows: Sequence[HeldOutRow], wanted: str | None) -> None:
        distinct = distinct_rows(rows)
        labelled = sum(row.label is not None for row in distinct)
        if labelled < self.fewest_rows:
            raise _refused("rows", f"{labelled} distinct rows with a label are fewer than {self.fewest_rows}")
        if wanted is not None and (found := rows_digest(distinct)) != wanted:
            raise _refused("rows", f"they are other held-out rows ({found[:12]}) than must be used ({wanted[:12]})")


class ReleasePolicy(_Part):
    """Rules for every model, and what differs for some. What a file leaves out is as by default."""

    format: Literal["acgs-release-policy/1"] = "acgs-release-policy/1"
    every_model: ModelRules = ModelRules()
    models: dict[ModelName, ModelRules] = Field({}, description="only what differs from every_model")

    @model_validator(mode="before")
    @classmethod
    def _differences_are_over_the_rest(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(fields.get("models"), dict):
            return fields
        common = fields.get("every_model", {})
        return {**fields, "models": {name: _over(common, own) for name, own in fields["models"].items()}}

    @model_validator(mode="after")
    def _names_what_it_is_for(self) -> Self:
        if self.every_model.held_out or self.every_model.contract_held_out:
            raise ValueError("held-out rows are those of one model; name them under models")
        return self

    def rules_for(self, model: str) -> ModelRules:
        """What holds for a model."""
        return self.models.get(model, self.every_model)

    def differences(self) -> dict[str, Any]:
        """The policy as a file says it: of models only what differs from every model's."""
        whole = self.model_dump(mode="json")
        common = whole["every_model"]
        return {**whole, "models": {name: _differing(common, own) for name, own in whole["models"].items()}}


def _over(common: Any, own: Any) -> Any:
    """A model's own fields over those of every model; what is no mapping is left for validation to refuse."""
    if not isinstance(common, dict) or not isinstance(own, dict):
        return own
    merged = {**common, **own}
    for part in PARTS:
        if isinstance(common.get(part), dict) and isinstance(own.get(part), dict):
            merged[part] = {**common[part], **own[part]}
    return merged


def _differing(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What `_over(common, ...)` makes `own` of."""
    found = {name: value for name, value in own.items() if value != common[name]}
    for part in PARTS:
        if part in found:
            found[part] = {name: value for name, value in found[part].items() if value != common[part][name]}
    return found


def _no_looser(field: str, asked: float, loosest: float, *, strict: Any) -> None:
    if not strict(asked, loosest):
        bound = "at least" if strict is ge else "at most"
        raise _refused(field, f"{asked:g} is asked; {bound} {loosest:g} is allowed")


def _refused(field: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"the release policy refuses {field}: {why} ('acgs release policy')", field=field)
