"""The evidence on which a release is judged: paired measurements of a candidate and of the baseline that is in force.

A part that was not measured is absent, which is a state of its own: a guard that needs it says INSUFFICIENT.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
import rfc8785
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.statistics.evidence import Floats, sample

HARD_NL: Final = "hard-NL"
"""Name of the slice of long natural-language queries, frozen before outcomes are looked at."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f`|]{1,80}$")]
"""A word or a few, fit for a cell of a table."""
Count = Annotated[int, Field(ge=0)]


def _numbers(value: object, info: ValidationInfo) -> Floats:
    name = info.field_name or "values"
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "iuf":
        raise InvalidInputError(f"{name} must be a list of numbers", field=name)
    vector = sample(array, name, at_least=0).copy()
    vector.setflags(write=False)
    return vector


def _shares(value: object, info: ValidationInfo) -> Floats:
    vector = _numbers(value, info)
    if vector.size and (vector.min() < 0 or vector.max() > 1):
        raise InvalidInputError(f"{info.field_name} holds values outside [0, 1]", field=info.field_name)
    return vector


def _milliseconds(value: object, info: ValidationInfo) -> Floats:
    vector = _numbers(value, info)
    if vector.size and vector.min() <= 0:
        raise InvalidInputError(f"{info.field_name} holds times that are not above 0", field=info.field_name)
    return vector


def _flags(value: object, info: ValidationInfo) -> NDArray[np.bool_]:
    vector = np.array(value)
    if vector.ndim != 1 or (vector.size and vector.dtype != np.bool_):
        raise InvalidInputError(f"{info.field_name} must be a list of true and false", field=info.field_name)
    vector = vector.astype(np.bool_)
    vector.setflags(write=False)
    return vector


def _listed(vector: Floats) -> list[float]:
    listed: list[float] = vector.tolist()
    return listed


def _listed_flags(vector: NDArray[np.bool_]) -> list[bool]:
    listed: list[bool] = vector.tolist()
    return listed


Shares = Annotated[Floats, PlainValidator(_shares), PlainSerializer(_listed)]
"""Numbers in [0, 1], shape (n,)."""
Milliseconds = Annotated[Floats, PlainValidator(_milliseconds), PlainSerializer(_listed)]
"""Durations in ms, shape (n,)."""
Flags = Annotated[NDArray[np.bool_], PlainValidator(_flags), PlainSerializer(_listed_flags)]
"""True or false, shape (n,)."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)


class System(_Part):
    """One side of the comparison; `digest` is SHA-256 over its configuration and artifacts."""

    name: Name
    version: Name
    digest: Digest


class Split(_Part):
    """The held-out queries; `digest` is SHA-256 over their ids, so that a reader can tell two splits apart."""

    name: Name
    digest: Digest


class QualityPairs(_Part):
    """Quality of both systems on the same queries.

    A query may belong to several slices. `clusters` names the user or template that queries share, where they do.
    """

    metric: Literal["nDCG@10", "accuracy", "closeness"] = "nDCG@10"
    queries: tuple[str, ...]
    baseline: Shares
    candidate: Shares
    slices: dict[Name, tuple[str, ...]] = {}
    clusters: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        lengths = {len(self.queries), len(self.baseline), len(self.candidate), len(self.clusters or self.queries)}
        if len(lengths) > 1:
            raise InvalidInputError("queries, baseline, candidate and clusters differ in length", field="quality")
        known = set(self.queries)
        if len(known) < len(self.queries):
            raise InvalidInputError("a query is listed twice", field="queries")
        for name, members in self.slices.items():
            if len(set(members)) < len(members) or not known.issuperset(members):
                raise InvalidInputError(f"slice {name} lists a query twice, or one that was not measured", field=name)
        return self

    @property
    def deltas(self) -> Floats:
        """Candidate minus baseline, shape (n,)."""
        return self.candidate - self.baseline

    def members(self, slice_name: str | None) -> NDArray[np.intp]:
        """Positions of a slice's queries, all queries for None; empty for a slice that is not known."""
        if slice_name is None:
            return np.arange(len(self.queries))
        position = {query: number for number, query in enumerate(self.queries)}
        return np.array([position[query] for query in self.slices.get(slice_name, ())], dtype=np.intp)

    def cluster_numbers(self) -> NDArray[np.int64] | None:
        """The cluster of each query as a number, shape (n,); None where queries stand alone."""
        if self.clusters is None:
            return None
        return np.unique(np.array(self.clusters), return_inverse=True)[1].astype(np.int64)


class LatencyPairs(_Part):
    """End-to-end latency of the same requests under both systems, replayed in pairs.

    `repeats` numbers the requests where some are replayed more than once: what a request costs is then one finding.
    """

    baseline_ms: Milliseconds
    candidate_ms: Milliseconds
    repeats: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] | None = Field(
        None,
        exclude_if=lambda value: value is None,  # evidence from before keeps its digest
    )

    @model_validator(mode="after")
    def _same_requests(self) -> Self:
        numbered = self.baseline_ms if self.repeats is None else self.repeats
        if len({len(self.baseline_ms), len(self.candidate_ms), len(numbered)}) > 1:
            raise InvalidInputError("baseline_ms, candidate_ms, repeats must be of the same requests", field="latency")
        return self

    def cluster_numbers(self) -> NDArray[np.int64] | None:
        """The request of each pair as a number, shape (n,); None where every pair is one of its own."""
        return None if self.repeats is None else np.array(self.repeats, dtype=np.int64)

    @property
    def requests(self) -> int:
        """How many different requests were timed."""
        return len(self.baseline_ms) if self.repeats is None else len(set(self.repeats))


class Overlap(_Part):
    """Jaccard@10 of approximate against exact search, one per query."""

    jaccard: Shares


class TreatedTraffic(_Part):
    """How many of `requests` the candidate answered on another route, and Jaccard@10 to the old answer on those."""

    requests: Annotated[int, Field(ge=1)]
    jaccard: Shares

    @model_validator(mode="after")
    def _part_of_all(self) -> Self:
        if len(self.jaccard) > self.requests:
            raise InvalidInputError("more requests were treated than there were", field="requests")
        return self


class Forecasts(_Part):
    """Stated probabilities and what happened. `event` says what a label of true means."""

    event: Name
    probabilities: Shares
    labels: Flags

    @model_validator(mode="after")
    def _one_label_each(self) -> Self:
        if len(self.probabilities) != len(self.labels):
            raise InvalidInputError("probabilities and labels differ in length", field="labels")
        return self


class SliceCoverage(_Part):
    """How often a conformal promise held on one slice. `ties`: equal scores make more coverage than promised usual."""

    slice: Name
    quantity: Name
    alpha: Annotated[float, Field(gt=0, lt=1)]
    covered: Count
    tested_on: Count
    calibrated_on: Count
    ties: bool = False

    @model_validator(mode="after")
    def _no_more_than_tested(self) -> Self:
        if self.covered > self.tested_on:
            raise InvalidInputError("more were covered than were tested", field="covered")
        return self


class EffectAudit(_Part):
    """The verdict of the causal audit on the log from which the candidate was learned."""

    verdict: Literal["ACCEPT", "REFUSED"]
    reasons: tuple[str, ...] = ()
    n: Count
    method: Name


class Evidence(_Part):
    """All that is known about a candidate. `seed` fixes every resampling, so that a verdict can be repeated."""

    format: Literal["acgs-release-evidence/1"] = "acgs-release-evidence/1"
    baseline: System
    candidate: System
    split: Split
    seed: int
    quality: QualityPairs | None = None
    latency: LatencyPairs | None = None
    overlap: Overlap | None = None
    treated: TreatedTraffic | None = None
    forecasts: Forecasts | None = None
    earlier_forecasts: Forecasts | None = None
    coverage: tuple[SliceCoverage, ...] = ()
    effect: EffectAudit | None = None

    @model_validator(mode="after")
    def _two_systems(self) -> Self:
        if self.baseline.version == self.candidate.version or self.baseline.digest == self.candidate.digest:
            raise InvalidInputError(
                "baseline and candidate are the same version; a release is judged against the version in force",
                field="candidate",
            )
        earlier, now = self.earlier_forecasts, self.forecasts
        if earlier and now and earlier.event != now.event:
            raise InvalidInputError("both sets of forecasts must be about the same event", field="earlier_forecasts")
        if len({item.slice for item in self.coverage}) < len(self.coverage):
            raise InvalidInputError("a slice's coverage is listed twice", field="coverage")
        return self

    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON (RFC 8785) of everything."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()


def read_evidence(path: Path) -> Evidence:
    """Read a file of evidence.

    Raises:
        InvalidInputError: it is absent or not evidence; the message names fields, never what they hold.
    """
    try:
        return Evidence.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read; measure first") from error
    except ValidationError as error:
        places = sorted({".".join(str(part) for part in item["loc"]) for item in error.errors(include_input=False)})
        raise InvalidInputError(f"{path} is not release evidence; mend {', '.join(places)}") from error


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write a file of evidence, whole or not at all."""
    write_atomic(path, evidence.model_dump_json(indent=1).encode() + b"\n")
