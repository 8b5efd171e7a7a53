"""Receipts: the signed record of one decision, verifiable offline from its JSON and the public key alone.

The signature is Ed25519 over the canonical JSON (RFC 8785) of all other fields. The canonical JSON of the whole
receipt, signature included, is its entry in the audit log, so its leaf hash can be recomputed from the receipt and is
no part of it.

A receipt holds ASCII field names, strings, lists of strings and null. For such content orjson with sorted keys writes
exactly the bytes of RFC 8785 at a fiftieth of the cost; a property test holds the two together.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from acgs.audit.keys import PublicKey, SigningKey
from acgs.audit.merkle import leaf_hash
from acgs.audit.notes import decode_base64
from acgs.errors import IntegrityError, InvalidInputError

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Instant = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]


class Receipt(BaseModel):
    """One decision as signed. Digests are lower-case hex SHA-256, `issued_at` is ISO 8601 in UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["receipt"] = "receipt"
    receipt_id: Name
    request_digest: Digest
    constitution_digest: Digest
    constitutional_hash: Label = Field(description="the constitution's label")
    bundle_version: Name
    model_version: Name | None
    domain: Name
    verdict: Name
    matched_rules: list[Name]
    issued_at: Instant
    replica_id: Name
    key_id: Label
    signature: str = Field(description="Ed25519, base64, over the canonical JSON of all other fields")

    def entry(self) -> bytes:
        """Return the receipt's entry in the audit log: its canonical JSON."""
        return canonical_receipt(self.model_dump())


@dataclass(frozen=True, slots=True)
class DecisionFacts:
    """What a decision contributes to its receipt; the signer adds the rest."""

    request_digest: str
    constitution_digest: str
    constitutional_hash: str
    bundle_version: str
    domain: str
    verdict: str
    matched_rules: Sequence[str] = ()
    model_version: str | None = None


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt as issued: its fields for the answer, its entry for the journal."""

    fields: Mapping[str, Any]
    entry: bytes

    @property
    def receipt_id(self) -> str:
        """The receipt's identifier."""
        return str(self.fields["receipt_id"])

    @property
    def leaf_hash(self) -> str:
        """The hex leaf hash under which the audit log will hold the receipt."""
        return leaf_hash(self.entry).hex()

    def receipt(self) -> Receipt:
        """Return the validated model."""
        return Receipt.model_validate(self.fields)


class ReceiptSigner:
    """Issues receipts for one replica."""

    def __init__(self, key: SigningKey, replica_id: str) -> None:
        self._sign = key.sign
        self._key_id = key.public.key_id
        self._replica_id = replica_id

    def issue(self, facts: DecisionFacts) -> SignedReceipt:
        """Return the signed receipt of a decision taken now.

        Raises `InvalidInputError` if a field cannot be written as JSON (text with lone surrogates).
        """
        fields: dict[str, Any] = {
            "type": "receipt",
            "receipt_id": str(uuid4()),
            "request_digest": facts.request_digest,
            "constitution_digest": facts.constitution_digest,
            "constitutional_hash": facts.constitutional_hash,
            "bundle_version": facts.bundle_version,
            "model_version": facts.model_version,
            "domain": facts.domain,
            "verdict": facts.verdict,
            "matched_rules": list(facts.matched_rules),
            "issued_at": utc_instant(),
            "replica_id": self._replica_id,
            "key_id": self._key_id,
        }
        fields["signature"] = base64.b64encode(self._sign(canonical_receipt(fields))).decode("ascii")
        return SignedReceipt(fields, canonical_receipt(fields))

    def issue_many(self, decisions: Iterable[DecisionFacts]) -> list[SignedReceipt]:
        """Return the receipts of a batch, in its order."""
        return [self.issue(facts) for facts in decisions]


def canonical_receipt(fields: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 bytes of a receipt's fields. Raises `InvalidInputError` if they are not text."""
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise InvalidInputError(
            "a receipt field holds text that is not valid Unicode; clean it before deciding"
        ) from error


def parse_receipt(data: bytes | str) -> Receipt:
    """Parse a receipt's JSON in any layout. Raises `InvalidInputError` that names the first wrong field."""
    try:
        return Receipt.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"not a receipt: {field or 'document'}: {first['msg']}", field=field) from None


def verify_receipt(receipt: Receipt, trusted: Iterable[PublicKey]) -> None:
    """Check a receipt's signature against the trusted keys.

    Raises `IntegrityError` if its key is not among them or the signature does not fit.
    """
    key = next((key for key in trusted if key.key_id == receipt.key_id), None)
    if key is None:
        raise IntegrityError(f"receipt {receipt.receipt_id} was signed with {receipt.key_id}, which is not trusted")
    fields = receipt.model_dump()
    try:
        signature = decode_base64(fields.pop("signature"), "receipt's signature")
    except InvalidInputError as error:
        raise IntegrityError(f"receipt {receipt.receipt_id} has a malformed signature: reject it") from error
    if not key.verify(signature, canonical_receipt(fields)):
        raise IntegrityError(f"receipt {receipt.receipt_id} was altered after it was signed: reject it")


def utc_instant(moment: datetime | None = None) -> str:
    """Return `moment` (default: now) as ISO 8601 in UTC with microseconds and `Z`."""
    moment = datetime.now(UTC) if moment is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
