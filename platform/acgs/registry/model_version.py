"""A model version: everything that is said of it when it is made, and never changed after."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, field_validator, model_validator

from acgs.audit.receipts import Digest, Instant, Label, Name
from acgs.registry.semver import ModelName, parse

NO_COMMIT: Final = "uncommitted"
"""Stands in a model id for code that was under no version control."""
_COMMIT_DIGITS: Final = 8

VersionText = Annotated[str, StringConstraints(max_length=128)]
Reference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}@[0-9A-Za-z.+-]{5,128}$")]
"""`name@1.2.3`."""
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSource(_Part):
    """A data set that went into the model; `digest` is that of its manifest or file."""

    name: Name
    digest: Digest


class CodeState(_Part):
    """The code that made the model, as version control knows it."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")] | None = None
    branch: Name | None = None
    dirty: bool | None = None
    """None where version control was not asked."""


class PrivacySpend(_Part):
    """What the training spent of its data's privacy, by the strictest account."""

    epsilon: Annotated[float, Field(ge=0)]
    delta: Annotated[float, Field(ge=0, lt=1)]
    population: Name


class Description(_Part):
    """What whoever makes a version says of it."""

    kind: Kind = Field(description="sklearn, lightgbm, onnx, lora, causal-lm, ...")
    parent: VersionText | None = Field(None, description="the version of the same model it was made from")
    base: Reference | None = Field(None, description="the version of another model it needs to work")
    data: tuple[DataSource, ...] = ()
    code: CodeState = CodeState()
    metrics: dict[Name, float] = {}
    privacy: PrivacySpend | None = None
    dependencies: dict[Name, Name] = {}
    metadata: dict[Name, JsonValue] = {}

    @model_validator(mode="after")
    def _can_be_signed(self) -> Self:
        try:
            rfc8785.dumps(self.model_dump(mode="json"))
        except (rfc8785.CanonicalizationError, UnicodeEncodeError):
            raise ValueError("a number beyond 2^53 or a broken character cannot be signed; write it as text") from None
        return self


class VersionFacts(Description):
    """What is signed: the description, and what the registry adds to it."""

    format: Literal["acgs-model-version/1"] = "acgs-model-version/1"
    name: ModelName
    version: VersionText
    artifact_digest: Digest
    artifact_bytes: Annotated[int, Field(ge=0)]
    constitution_digest: Digest
    constitutional_hash: Label
    created_at: Instant
    created_by: Name

    @field_validator("version")
    @classmethod
    def _semantic(cls, text: str) -> str:
        parse(text)
        return text

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def model_id(self) -> str:
        """`{name}_{version}_{first 8 digits of the commit}`, as published."""
        return f"{self.name}_{self.version}_{(self.code.commit or NO_COMMIT)[:_COMMIT_DIGITS]}"

    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON (RFC 8785)."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()
