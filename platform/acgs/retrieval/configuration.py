"""The retrieval configuration in force: one versioned document that decides every search."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.retrieval.rerankers import CHEAP_FEATURES, FULL_FEATURES, PRIOR

Share = Annotated[float, Field(ge=0, le=1)]


class Route(StrEnum):
    """What was done for a query, from the least to the most."""

    LEXICAL = "lexical"
    FUSED = "fused"
    CHEAP = "cheap rerank"
    FULL = "full rerank"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FirstStage(_Part):
    """How candidates are found and put in a first order."""

    tau: Share = Field(0.5, description="share of the dense leg in the fused score; 0 searches by words alone")
    topk: int = Field(100, ge=10, le=1000, description="candidates that each leg gives")
    ef: int = Field(128, ge=10, le=4096, description="nodes the HNSW search keeps open")
    exact: bool = Field(False, description="look at every vector instead of the graph")


class Rerankers(_Part):
    """Weights of both rerankers by feature, and how many candidates they see."""

    depth: int = Field(20, ge=10, le=1000)
    cheap_ms: float = Field(0.3, ge=0, description="what the cheap one takes; measured for the corpus by a T1 run")
    candidate_ms: float = Field(0.03, gt=0, description="what late interaction with one candidate adds; measured too")
    cheap: dict[str, float]
    full: dict[str, float]

    @model_validator(mode="after")
    def _features_known(self) -> Rerankers:
        for weights, names in ((self.cheap, CHEAP_FEATURES), (self.full, FULL_FEATURES)):
            if set(weights) != set(names):
                raise ValueError(f"weights are needed for exactly {', '.join(names)}")
        return self


class Gate(_Part):
    """Which predicted gain buys which rerank."""

    theta_star: float = Field(description="full rerank from this predicted gain of nDCG@10 on")
    delta: float = Field(ge=0, description="cheap rerank from theta_star - delta on, nothing below")

    def route(self, gain: float) -> Route:
        """The route for a predicted gain."""
        if gain >= self.theta_star:
            return Route.FULL
        return Route.CHEAP if gain >= self.theta_star - self.delta else Route.FUSED


class RetrievalConfiguration(_Part):
    """Everything that a search depends on beside the index."""

    first_stage: FirstStage = FirstStage()
    rerankers: Rerankers = Rerankers(
        # For corpora without judged queries: the fused order with some late interaction, as the weights' prior.
        cheap={name: {"fused": 1.0}.get(name, 0.0) for name in CHEAP_FEATURES},
        full={name: PRIOR.get(name, 0.0) for name in FULL_FEATURES},
    )
    route: Route = Field(Route.FULL, description="taken by every query where no gate is set")
    gate: Gate | None = Field(None, description="with a router: each query takes the route that its gain is worth")

    @property
    def version(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()[:16]


def load_configuration(path: Path) -> RetrievalConfiguration:
    """Read a configuration.

    Raises:
        InvalidInputError: it cannot be read, or a field cannot be used.
    """
    try:
        return parse_configuration(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field="configuration") from error


def parse_configuration(data: bytes | dict[str, Any]) -> RetrievalConfiguration:
    """Check a configuration.

    Raises:
        InvalidInputError: a field cannot be used; it is named.
    """
    try:
        if isinstance(data, bytes):
            return RetrievalConfiguration.model_validate_json(data)
        return RetrievalConfiguration.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise InvalidInputError(f"retrieval configuration, {name}: {first['msg']}", field=name) from None


def write_configuration(configuration: RetrievalConfiguration, path: Path) -> None:
    """Write it as JSON."""
    write_atomic(path, configuration.model_dump_json(indent=1).encode() + b"\n")
