"""Which keys may have signed documents and approvals, by where the audit log tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from acgs.audit.key_ring import KeyRing

STAGED: Final = "release.staged"
JUDGED: Final = "release.contract_judged"
OVERRIDE: Final = "release.override.approved"
TELLING: Final = (STAGED, JUDGED, OVERRIDE)
"""The kinds of events that tell of something signed."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The installation's keys, and the places of what they signed.

    `places` has the index in the audit log of each document (by its digest) and approval (by its signature) that an
    event there tells of; only what a retired key has signed needs one.
    """

    ring: KeyRing
    places: Mapping[str, int] = field(default_factory=dict)

    def verifies(self, name: str, signature: str, message: bytes) -> bool:
        """Whether a key that counts at the place of `name` signed the message."""
        return any(key.verify_text(signature, message) for key in self.ring.accepted(self.places.get(name)))


def places_of(told: Iterable[tuple[str, Mapping[str, JsonValue], int | None]]) -> dict[str, int]:
    """Places by what is signed, from the kind, the details and the index of each event; the first place counts."""
    places: dict[str, int] = {}
    for kind, details, index in told:
        name = details.get("signature" if kind == OVERRIDE else "document") if kind in TELLING else None
        if isinstance(name, str) and index is not None:
            places.setdefault(name, index)
    return places
