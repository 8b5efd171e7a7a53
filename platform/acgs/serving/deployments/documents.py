"""Signed documents about a version: what staging found, what the release contract says of it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from acgs.audit.receipts import Digest, Instant, Name
from acgs.registry.semver import ModelName
from acgs.serving.routing import SemVer

Verdict = Literal["PASS", "FAIL", "INSUFFICIENT"]


class Document(BaseModel):
    """What was found, by whom and when; `facts_digest` names the version as it was signed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["acgs-release-document/1"] = "acgs-release-document/1"
    kind: Literal["staging", "contract"]
    model: ModelName
    version: SemVer
    facts_digest: Digest
    constitution_digest: Digest
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


class SignedDocument(BaseModel):
    """A document and its Ed25519 signature (base64) over the canonical JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    document: Document
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    signature: str
