"""The tables as shipped, as a document that holds together: shapes, checksums and monotone directions are checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
import rfc8785
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from acgs.errors import IntegrityError, InvalidInputError
from acgs.retrieval.router.outputs import OUTPUTS
from acgs.retrieval.router.runtime import Router
from acgs.retrieval.router.tables import LARGEST, SEGMENTS, Student

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Entry = Annotated[int, Field(ge=-LARGEST, le=LARGEST, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeatureAxis(_Part):
    """A feature: where its tables bend, and how many training queries lay in each segment."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    knots: Annotated[tuple[float, ...], Field(min_length=1, max_length=SEGMENTS + 1)]
    n_samples: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _is_an_axis(self) -> Self:
        if any(right <= left for left, right in pairwise(self.knots)):
            raise InvalidInputError(f"the knots of {self.name} do not increase strictly", field="knots")
        if len(self.n_samples) != max(1, len(self.knots) - 1):
            raise InvalidInputError(f"{self.name} needs one n_samples a segment", field="n_samples")
        return self


class Segments(_Part):
    """One output: anchor + scale * (sum of the tables' readings), within `range`; entries in between are linear.

    The anchor is the output, in its own unit, where every table reads 0; the scale is the quantizer's.
    """

    n_segments: Annotated[int, Field(ge=0)]
    """Of all tables together."""
    anchor: float
    range: tuple[float, float]
    tables: dict[str, tuple[Entry, ...]]
    """By feature: one entry a knot."""


class Quantizer(_Part):
    """Symmetric int8: value = entry * quantization_scale. The checksum is SHA-256 over the output's segments."""

    quantization_scale: Annotated[float, Field(gt=0)]
    quantization_bits: Literal[8] = 8
    model_checksum: Digest


class Quantization(_Part):
    """One scale an output, shared by all of its tables, so that rounding keeps their order."""

    bits: Literal[8] = 8
    tau_quantizer: Quantizer
    spend_quantizer: Quantizer
    gain_quantizer: Quantizer


class FidelityStatement(_Part):
    """See `acgs.retrieval.router.fidelity.Fidelity`."""

    r2: float | None
    held_out_r2: float | None
    rank_agreement: float | None
    decision_agreement: Share | None


class NoRegretStatement(_Part):
    """See `acgs.retrieval.router.fidelity.NoRegret`."""

    holds: bool
    lower: float
    margin: float
    confidence: Share
    n: int
    differing: int
    method: str


class PerformanceGuarantees(_Part):
    """`no_regret` is None where the distilled router was not compared with its teacher on queries."""

    no_regret_threshold: float
    piecewise_segments: Literal[16] = 16
    fidelity: dict[Literal["tau", "spend", "gain"], FidelityStatement]
    no_regret: NoRegretStatement | None


class RouterDocument(_Part):
    """The whole file. `digest` is SHA-256 over the canonical JSON (RFC 8785) of all other fields."""

    format: Literal["acgs-router/1"] = "acgs-router/1"
    model_type: Literal["monotone_gbm_int8"] = "monotone_gbm_int8"
    version: Annotated[str, Field(min_length=1)]
    timestamp: AwareDatetime
    features: Annotated[tuple[FeatureAxis, ...], Field(min_length=1)]
    """In the order in which a query's features are given."""
    tau_segments: Segments
    spend_segments: Segments
    gain_segments: Segments
    quantization: Quantization
    monotone_constraints: dict[str, Literal["increasing", "decreasing"]]
    """By output and feature, as `tau_entropy`."""
    performance_guarantees: PerformanceGuarantees
    queries: Annotated[int, Field(ge=1)]
    training_data_digest: Digest
    seed: int
    digest: Digest

    @model_validator(mode="after")
    def _holds_what_it_says(self) -> Self:
        axes = {axis.name: axis for axis in self.features}
        if len(axes) < len(self.features):
            raise InvalidInputError("a feature is listed twice", field="features")
        for output in OUTPUTS:
            self._require_tables(output, axes)
        pairs = {f"{output}_{name}": (output, name) for output in OUTPUTS for name in axes}
        for constraint, direction in self.monotone_constraints.items():
            if constraint not in pairs:
                raise InvalidInputError(f"{constraint} names no output and feature", field="monotone_constraints")
            output, name = pairs[constraint]
            require_monotone(constraint, self.segments(output).tables[name], direction)
        return self

    def _require_tables(self, output: str, axes: Mapping[str, FeatureAxis]) -> None:
        part = self.segments(output)
        lengths = {name: len(axis.knots) for name, axis in axes.items()}
        if {name: len(table) for name, table in part.tables.items()} != lengths:
            raise InvalidInputError(f"{output} needs one table a feature and one entry a knot", field="tables")
        if part.n_segments != sum(lengths.values()) - len(lengths):
            raise InvalidInputError(f"n_segments of {output} does not count its segments", field="n_segments")
        if part.range[0] > part.range[1]:
            raise InvalidInputError(f"the range of {output} is empty", field="range")
        if self.quantizer(output).model_checksum != digest_of(part.model_dump(mode="json")):
            raise IntegrityError(f"the tables of {output} do not match their checksum; distil the router again")

    def segments(self, output: str) -> Segments:
        """The tables of an output."""
        part: Segments = getattr(self, f"{output}_segments")
        return part

    def quantizer(self, output: str) -> Quantizer:
        """The scale of an output."""
        part: Quantizer = getattr(self.quantization, f"{output}_quantizer")
        return part

    def router(self) -> Router:
        """The tables, ready to predict."""
        names = [axis.name for axis in self.features]
        knots = [np.array(axis.knots) for axis in self.features]
        return Router(names, knots, {output: self._student(output, names) for output in OUTPUTS})

    def _student(self, output: str, names: list[str]) -> Student:
        part = self.segments(output)
        tables = tuple(np.array(part.tables[name], dtype=np.int8) for name in names)
        return Student(part.anchor, self.quantizer(output).quantization_scale, tables, *part.range)


def require_monotone(constraint: str, table: tuple[int, ...], direction: str) -> None:
    """Check every step of a table as shipped.

    The prediction is a sum of tables that are linear between knots, so steps that never turn back prove it monotone
    everywhere, whatever the other features are.

    Raises:
        InvalidInputError: a step turns back.
    """
    sign = 1 if direction == "increasing" else -1
    turned = sum(sign * (right - left) < 0 for left, right in pairwise(table))
    if turned:
        raise InvalidInputError(
            f"{constraint} must be {direction}, and {turned} of its steps turn back; distil the router again",
            field="monotone_constraints",
        )


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON (RFC 8785)."""
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()
