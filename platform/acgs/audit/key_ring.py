"""The keys whose signatures count: the one in force, and retired ones for what the log held before they were retired.

A retired key is vouched for by its successor, back from the key in force. How much of the log there was when it was
retired decides what it may have signed: whoever has got hold of it since can sign what they like, and give it any date,
but can put nothing into the log before that place.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from acgs.audit.keys import PublicKey, SigningKey
from acgs.audit.layout import AuditDirectory
from acgs.audit.receipts import Instant
from acgs.errors import IntegrityError, InvalidInputError
from acgs.files import write_atomic

KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class RetiredKey(BaseModel):
    """A key that was in force until `until`, when the log had `log_size` entries; signed by its successor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["acgs-retired-key/1"] = "acgs-retired-key/1"
    public_key: str = Field(description="32 raw bytes, base64")
    since: Instant | None = Field(None, description="None: it was the installation's first")
    until: Instant
    log_size: int = Field(ge=0)
    successor: KeyId
    signature: str = Field("", max_length=256, description="Ed25519, base64, over the canonical JSON of all else")

    @field_validator("public_key")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        try:
            PublicKey(base64.b64decode(text, validate=True))
        except (ValueError, InvalidInputError):
            raise ValueError("it is no Ed25519 public key") from None
        return text

    @property
    def key(self) -> PublicKey:
        """The key itself."""
        return PublicKey(base64.b64decode(self.public_key))

    def signed_by(self, successor: SigningKey) -> Self:
        """The same with the successor's signature."""
        return self.model_copy(update={"signature": successor.sign_text(self._statement())})

    def vouched_for_by(self, successor: PublicKey) -> bool:
        """Whether this successor signed it."""
        return self.successor == successor.key_id and successor.verify_text(self.signature, self._statement())

    def _statement(self) -> bytes:
        return rfc8785.dumps(self.model_dump(mode="json", exclude={"signature"}))


_LIST: Final = TypeAdapter(list[RetiredKey])


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The key in force, and the retired ones that it vouches for, latest first."""

    present: PublicKey
    retired: tuple[RetiredKey, ...] = ()

    @classmethod
    def of(cls, present: PublicKey, records: Iterable[RetiredKey]) -> Self:
        """The ring that leads back from the key in force; what does not belong to it is left out."""
        known = list(records)
        chain: list[RetiredKey] = []
        successor, log_size = present, None
        while (found := next((r for r in known if r not in chain and r.vouched_for_by(successor)), None)) is not None:
            if log_size is not None and found.log_size > log_size:
                break
            chain.append(found)
            successor, log_size = found.key, found.log_size
        return cls(present, tuple(chain))

    def accepted(self, place: int | None) -> tuple[PublicKey, ...]:
        """The keys that may have signed what an entry of the log tells of.

        Args:
            place: the entry's index; None: the log does not hold it, so that only the key in force may have.
        """
        earlier = () if place is None else (record.key for record in self.retired if place < record.log_size)
        return (self.present, *earlier)


def ends_of(trusted: Iterable[PublicKey], records: Iterable[RetiredKey]) -> dict[str, int]:
    """How many entries the log had when each retired key that a trusted one vouches for came to its end."""
    known = list(records)
    return {record.key.key_id: record.log_size for key in trusted for record in KeyRing.of(key, known).retired}


def read_ring(audit: AuditDirectory, present: PublicKey) -> KeyRing:
    """The ring of an installation.

    Raises:
        IntegrityError: the list of retired keys was changed by hand.
    """
    return KeyRing.of(present, read_retired(audit))


def read_retired(audit: AuditDirectory) -> list[RetiredKey]:
    """All that is on record of retired keys, whoever vouches for it.

    Raises:
        IntegrityError: the list was changed by hand.
    """
    try:
        return _LIST.validate_json(audit.retired_keys.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError:
        raise IntegrityError(f"{audit.retired_keys.name} was changed; restore it from a copy") from None


def write_retired(audit: AuditDirectory, record: RetiredKey) -> None:
    """Add a record; one of the same key, of a rotation that did not come to its end, is replaced."""
    kept = [other for other in read_retired(audit) if other.public_key != record.public_key]
    write_atomic(audit.retired_keys, _LIST.dump_json([*kept, record], indent=1) + b"\n")
