"""One party on a sanctions list, with all its names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import rfc8785


@dataclass(frozen=True, slots=True)
class ListedEntity:
    """A listed party: its id, what it is (`person`, `entity`, `vessel` ...) and its names, the main one first."""

    entity_id: str
    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SanctionsList:
    """A list as loaded: its name, its parties, and the SHA-256 (hex) over their canonical JSON (RFC 8785)."""

    name: str
    entities: tuple[ListedEntity, ...]
    digest: str

    @classmethod
    def of(cls, name: str, entities: Iterable[ListedEntity]) -> SanctionsList:
        """Gather `entities` in order of their id and compute the digest."""
        ordered = tuple(sorted(entities, key=lambda entity: entity.entity_id))
        document = [[entity.entity_id, entity.kind, list(entity.names)] for entity in ordered]
        return cls(name, ordered, hashlib.sha256(rfc8785.dumps(document)).hexdigest())
