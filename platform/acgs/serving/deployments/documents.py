"""Signed documents about a version: what staging found, what the release contract says of it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final, Literal, Self

import rfc8785
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from acgs.audit.receipts import Digest, Instant, Name
from acgs.registry.semver import ModelName
from acgs.serving.routing import SemVer

Verdict = Literal["PASS", "FAIL", "INSUFFICIENT"]
DocumentKind = Literal["staging", "contract"]
FIRST_FORMAT: Final = "acgs-release-document/1"
_SINCE_THE_SECOND: Final = ("policy_digest", "data_digest", "attempt", "confidence")


class Document(BaseModel):
    """What was found, by whom and when; `facts_digest` names the version as it was signed.

    Documents of the first format name no policy and no data. They are read as they were signed, so that histories with
    them still verify; no promotion rests on them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["acgs-release-document/1", "acgs-release-document/2"] = "acgs-release-document/2"
    kind: DocumentKind
    model: ModelName
    version: SemVer
    facts_digest: Digest
    constitution_digest: Digest
    policy_digest: Digest | None = Field(None, description="of the rules of the release policy that were in force")
    data_digest: Digest | None = Field(None, description="of the held-out rows")
    attempt: int | None = Field(
        None, ge=1, description="at such a document about these files; None: nothing was measured"
    )
    confidence: float | None = Field(None, gt=0, lt=1, description="of every bound: repeats are judged more strictly")
    baseline: SemVer | None = Field(None, description="what the candidate was held against")
    verdict: Verdict
    body: dict[str, JsonValue]
    made_by: Name
    made_at: Instant

    def canonical(self) -> bytes:
        """Canonical JSON (RFC 8785): what is signed."""
        return rfc8785.dumps(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @model_validator(mode="after")
    def _says_no_more_than_is_signed(self) -> Self:
        if self.format == FIRST_FORMAT and any(getattr(self, name) is not None for name in _SINCE_THE_SECOND):
            raise ValueError("a document of the first format has no such field")
        return self

    @model_serializer(mode="wrap")
    def _as_signed(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if self.format == FIRST_FORMAT:
            for name in _SINCE_THE_SECOND:
                fields.pop(name, None)
        return fields


class SignedDocument(BaseModel):
    """A document and its Ed25519 signature (base64) over the canonical JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    document: Document
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    signature: str
