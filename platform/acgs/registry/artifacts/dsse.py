"""DSSE envelopes (secure-systems-lab, version 1) around in-toto statements (version 1), read strictly."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from acgs.errors import IntegrityError, InvalidInputError
from acgs.registry.artifacts.manifest import Sha256
from acgs.registry.artifacts.text_files import json_value

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class Part(BaseModel):
    """A part of a signed document: no field but those that are known, names as in the published formats."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Signature(Part):
    """One signature over the pre-authentication encoding."""

    sig: Base64
    keyid: str = ""

    @property
    def raw(self) -> bytes:
        """The signature's bytes."""
        return decoded(self.sig)


class Envelope(Part):
    """A payload with its signatures."""

    payload: Base64
    payload_type: Literal["application/vnd.in-toto+json"] = Field(PAYLOAD_TYPE, alias="payloadType")
    signatures: tuple[Signature, ...] = Field(min_length=1, max_length=8)

    @property
    def message(self) -> bytes:
        """What is signed."""
        return pae(decoded(self.payload))


class Digest(Part):
    """A digest by its algorithm."""

    sha256: Sha256


class Subject(Part):
    """What a statement is about."""

    name: str = Field(min_length=1, max_length=512)
    digest: Digest


class Statement(Part):
    """An in-toto statement about one subject."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1, max_length=1)
    predicate_type: str = Field(alias="predicateType")
    predicate: dict[str, Any]


Document = TypeVar("Document", bound=Part)


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding of a payload of in-toto's type."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def statement_bytes(statement: Statement) -> bytes:
    """The statement's canonical JSON.

    Raises:
        InvalidInputError: the predicate has no canonical form (NaN, integers beyond 2^53, other objects).
    """
    try:
        # The predicate as it was given: pydantic would turn what JSON cannot say into something that it can.
        written = statement.model_dump(mode="json", by_alias=True, exclude={"predicate"})
        return rfc8785.dumps({**written, "predicate": statement.predicate})
    except (rfc8785.CanonicalizationError, ValueError, TypeError) as error:
        raise InvalidInputError(
            "what is to be signed has no canonical JSON form; use plain values", field="facts"
        ) from error


def read_statement(envelope: Envelope) -> Statement:
    """The statement in an envelope whose signatures were verified.

    Raises:
        IntegrityError: it is no in-toto statement.
    """
    try:
        return Statement.model_validate(json_value(decoded(envelope.payload)))
    except (ValueError, RecursionError):
        raise IntegrityError("what was signed is no in-toto statement", field="signature") from None


def read_document(data: bytes, kind: type[Document], what: str) -> Document:
    """A signed document from its bytes.

    Raises:
        IntegrityError: it is not of that kind, or says a name twice.
    """
    try:
        return kind.model_validate(json_value(data))
    except (ValidationError, ValueError, RecursionError):
        raise IntegrityError(f"{what} cannot be read; it was changed or is something else", field="signature") from None


def encoded(data: bytes) -> str:
    """Base64, as envelopes have it."""
    return base64.b64encode(data).decode("ascii")


def decoded(text: str) -> bytes:
    """The bytes again. Raises `IntegrityError` if the text is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise IntegrityError("a signed document holds text that is no base64", field="signature") from None
