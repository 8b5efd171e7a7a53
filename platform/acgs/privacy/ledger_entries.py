"""The ledger's entries: five kinds, chained by digest so that a changed, removed or reordered one is seen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from acgs.errors import AcgsError, IntegrityError
from acgs.privacy.ledger import GENESIS, Head
from acgs.privacy.plan import PrivacyPlan

_DOMAIN: Final = "acgs privacy ledger v1"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NamedDataSet(_Body):
    """A data set as an entry names it."""

    id: str
    population: str


class RunOpened(_Body):
    """Promises `plan.steps` to a run."""

    kind: Literal["run_opened"] = "run_opened"
    run_id: str
    owner: str
    datasets: list[NamedDataSet] = Field(min_length=1)
    plan: PrivacyPlan


class AttemptBegun(_Body):
    """Ends the attempts before it."""

    kind: Literal["attempt_begun"] = "attempt_begun"
    run_id: str
    attempt: int = Field(ge=1)


class Reserved(_Body):
    """Counts steps as spent. `release_digest` is SHA-256 of the key that can give some back."""

    kind: Literal["reserved"] = "reserved"
    run_id: str
    attempt: int = Field(ge=1)
    reservation_id: str
    steps: int = Field(ge=1)
    noise_multiplier: float
    sample_rate: float
    release_digest: str


class Settled(_Body):
    """Says how many of a reservation's steps ran."""

    kind: Literal["settled"] = "settled"
    run_id: str
    reservation_id: str
    steps_run: int = Field(ge=0)


class RunClosed(_Body):
    """Releases what a run never reserved."""

    kind: Literal["run_closed"] = "run_closed"
    run_id: str


Body = RunOpened | AttemptBegun | Reserved | Settled | RunClosed
_BODIES: Final = TypeAdapter[Body](Annotated[Body, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger, as stored: `body` is the very text that was digested."""

    sequence: int
    recorded_at: str
    kind: str
    run_id: str
    body: str
    previous_digest: str
    digest: str

    @property
    def head(self) -> Head:
        """This entry's place and digest."""
        return Head(self.sequence, self.digest)


def chain(body: Body, recorded_at: str, after: Head) -> Entry:
    """The entry that follows `after`."""
    text = json.dumps(body.model_dump(mode="json"), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    fields = (after.sequence + 1, recorded_at, body.kind, body.run_id, text, after.digest)
    return Entry(*fields, digest=_digest(*fields))


def read(entry: Entry, after: Head) -> Body:
    """Check that `entry` follows `after` unaltered, and parse it. Raises `IntegrityError`."""
    if entry.sequence != after.sequence + 1:
        raise IntegrityError(f"privacy ledger: entry {after.sequence + 1} is missing; restore it from a backup")
    fields = (entry.sequence, entry.recorded_at, entry.kind, entry.run_id, entry.body, entry.previous_digest)
    if entry.previous_digest != after.digest or entry.digest != _digest(*fields):
        raise IntegrityError(f"privacy ledger: entry {entry.sequence} was altered; restore the ledger from a backup")
    try:
        body = _BODIES.validate_json(entry.body)
    except (ValidationError, AcgsError) as error:
        raise IntegrityError(f"privacy ledger: entry {entry.sequence} is not one this version of ACGS knows") from error
    if (body.kind, body.run_id) != (entry.kind, entry.run_id):
        raise IntegrityError(f"privacy ledger: entry {entry.sequence} contradicts itself")
    return body


ORIGIN: Final = Head(0, GENESIS)
"""The head of an empty ledger."""


def _digest(*fields: Any) -> str:
    return hashlib.sha256(json.dumps([_DOMAIN, *fields], ensure_ascii=True).encode()).hexdigest()
