"""Which slot answers whom: the routing table, and the choice it makes for one request.

A table is a value; the one with the highest epoch is in force. The choice depends on table, model and the caller's key
alone, so every replica that holds the same table makes the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from acgs.errors import AcgsError, InvalidInputError, UnavailableError
from acgs.registry.semver import RESERVED_NAMES, ModelName, parse

_HASH_BYTES: Final = 8
_HASH_SPACE: Final = float(2 ** (8 * _HASH_BYTES))


def _known_version(text: str) -> str:
    try:
        return str(parse(text))
    except InvalidInputError as error:
        raise ValueError(error.message) from None


SemVer = Annotated[str, AfterValidator(_known_version)]


class UnknownModelError(AcgsError):
    """No model of this name is, or was, in a slot."""

    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such model; GET /models lists those that are served", field="model")


class Slot(StrEnum):
    """One of the two places of a model."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Slot:
        """The slot that this one is not."""
        return Slot.GREEN if self is Slot.BLUE else Slot.BLUE


class ModelRoute(BaseModel):
    """What the two slots of one model hold, and who gets which."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blue: SemVer | None = None
    green: SemVer | None = None
    live: Slot = Field(Slot.BLUE, description="the slot that answers where nothing else is said")
    percent: int = Field(0, ge=0, le=100, description="share of keys that the other slot answers")
    shadow: bool = Field(False, description="the other slot gets a copy of each request; its answers are dropped")

    @model_validator(mode="after")
    def _other_slot_has_what_it_is_asked_for(self) -> ModelRoute:
        if self.version_in(self.live.other) is None and (self.percent or self.shadow):
            raise ValueError(f"slot {self.live.other} is empty and cannot take traffic; put a version into it first")
        return self

    def version_in(self, slot: Slot) -> str | None:
        """The version of a slot."""
        return self.blue if slot is Slot.BLUE else self.green


class RoutingTable(BaseModel):
    """The routes of all models under one epoch. Epoch 0 is the empty table before the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int = Field(0, ge=0)
    models: Mapping[ModelName, ModelRoute] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_free(self) -> RoutingTable:
        taken = sorted(RESERVED_NAMES & self.models.keys())
        if taken:
            raise ValueError(f"no model can be called {taken[0]!r}: the route of that name is the application's own")
        return self

    def wanted_in(self, slot: Slot) -> dict[str, str]:
        """The version of each model that a slot is to hold."""
        found = ((name, route.version_in(slot)) for name, route in self.models.items())
        return {name: version for name, version in found if version is not None}

    def versions(self) -> set[tuple[str, str]]:
        """Every (model, version) in a slot."""
        return {(name, version) for slot in Slot for name, version in self.wanted_in(slot).items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a request goes; `shadow` is where its copy goes."""

    slot: Slot
    version: str
    epoch: int
    shadow: tuple[Slot, str] | None = None
    also_in: Slot | None = None
    """The other slot, where it holds the very same version."""


def choose(table: RoutingTable, model: str, key: str) -> Choice:
    """The slot that answers `key`.

    A key stays with its slot while versions and percentage stay; a higher percentage moves keys to the other slot only.

    Raises:
        UnknownModelError: the table does not know the model.
        UnavailableError: the slot that would answer is empty.
    """
    route = table.models.get(model)
    if route is None:
        raise UnknownModelError
    other = route.live.other
    candidate = route.version_in(other)
    crosses = candidate is not None and route.percent > 0 and _position(model, candidate, key) < route.percent
    slot = other if crosses else route.live
    version = route.version_in(slot)
    if version is None:
        raise UnavailableError(f"no version of {model} is deployed; promote one", field="model")
    shadow = (other, candidate) if route.shadow and candidate is not None and not crosses else None
    same = slot.other if route.version_in(slot.other) == version else None
    return Choice(slot, version, table.epoch, shadow, same)


def _position(model: str, candidate: str, key: str) -> float:
    """Where a key lies in 0..100. The candidate is part of it, so that not the same callers try every version first."""
    digest = hashlib.blake2b(f"{model}\0{candidate}\0{key}".encode(), digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest) / _HASH_SPACE * 100.0
