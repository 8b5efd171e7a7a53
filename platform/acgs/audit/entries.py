"""What the audit log holds: receipts, and events in the life of constitutions, models and releases."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

import orjson
import rfc8785
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from acgs.audit.receipts import Instant, Name, Receipt, parse_receipt, utc_instant
from acgs.errors import InvalidInputError

# An entry bundle of C2SP tlog-tiles gives the length of an entry in 16 bits.
MAX_ENTRY_BYTES = 0xFFFF


class Event(BaseModel):
    """Something that happened to `subject` through `actor`: training completed, release promoted, ...

    `details` is any JSON object; it must not hold personal data, secrets or the text of requests. Events carry no
    signature of their own: the checkpoint that covers them is signed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["event"] = "event"
    event_id: Name = Field(default_factory=lambda: str(uuid4()))
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=128)]
    actor: Name
    subject: Name
    details: dict[str, JsonValue] = Field(default_factory=dict)
    occurred_at: Instant = Field(default_factory=utc_instant)

    def entry(self) -> bytes:
        """Return the event's entry in the audit log: its canonical JSON (RFC 8785).

        Raises `InvalidInputError` if `details` has no canonical form (NaN, integers beyond 2^53, lone surrogates) or
        the entry is too long for the log.
        """
        try:
            entry = rfc8785.dumps(self.model_dump())
        except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
            raise InvalidInputError("the event's details have no canonical JSON form; use plain values") from error
        if len(entry) > MAX_ENTRY_BYTES:
            raise InvalidInputError(f"the event takes {len(entry)} bytes of {MAX_ENTRY_BYTES}; store a digest instead")
        return entry


def parse_entry(entry: bytes) -> Receipt | Event:
    """Parse an entry of the log.

    Raises `InvalidInputError` if it is neither kind, or not in canonical form, so that its leaf hash could not be
    recomputed from its content.
    """
    fields = _json_object(entry)
    parsed: Receipt | Event
    if fields.get("type") == "receipt":
        parsed = parse_receipt(entry)
    elif fields.get("type") == "event":
        try:
            parsed = Event.model_validate(fields)
        except ValidationError as error:
            raise InvalidInputError(f"not an event: {error.error_count()} of its fields are wrong") from None
    else:
        raise InvalidInputError("the entry is neither a receipt nor an event")
    if parsed.entry() != entry:
        raise InvalidInputError("the entry is not in canonical form")
    return parsed


def entry_id(entry: bytes) -> str | None:
    """Return the receipt or event identifier of an entry, or None if it has none."""
    try:
        fields = _json_object(entry)
    except InvalidInputError:
        return None
    identifier = fields.get("receipt_id") or fields.get("event_id")
    return identifier if isinstance(identifier, str) else None


def _json_object(entry: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(entry)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError("the entry is not JSON") from error
    if not isinstance(fields, dict):
        raise InvalidInputError("the entry is not a JSON object")
    return fields
