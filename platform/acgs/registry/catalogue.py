"""The index of versions: what is asked of it, whatever database keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pydantic import JsonValue
from semver import Version

from acgs.errors import AcgsError, InvalidInputError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.model_version import VersionFacts

LATEST = "latest"


class UnknownVersionError(AcgsError):
    """There is no such model or version."""

    code = "not_found"


class VersionTakenError(AcgsError):
    """A version is named once and for ever."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Record:
    """A version as kept. `manifest` and `signatures` are JSON; `removed_at` is set once its files were collected.

    The manifest has the artifact's key as it was wrapped last.
    """

    facts: VersionFacts
    manifest: JsonValue
    signatures: JsonValue
    removed_at: str | None = None


class Summary(NamedTuple):
    """A line of a list; cheap, because manifests and signatures stay where they are."""

    name: str
    version: str
    kind: str
    artifact_digest: str
    artifact_bytes: int
    constitution_digest: str
    parent: str | None
    base: str | None
    created_at: str
    created_by: str
    removed_at: str | None
    held: bool

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


Choose = Callable[[Version | None], Version]
"""The new version, given the highest there is."""
Make = Callable[[Version], tuple[Record, LifecycleEvent]]
"""The record of a version whose number is decided, and the event that tells of it."""


class Catalogue(Protocol):
    """Versions, immutable but for the removal of their files and the wrapping of their keys, and holds on them."""

    def register(self, name: str, choose: Choose, make: Make) -> Record:
        """Decide on the number and keep the version, in one step that no other writer overlaps.

        Raises:
            VersionTakenError: the number chosen is taken, if only by one that differs in build metadata.
        """

    def get(self, name: str, spec: str) -> Record:
        """A version by its number, or by 'latest': the highest that is no pre-release, files and all.

        Raises:
            UnknownVersionError: there is none.
        """

    def find(self, name: str | None = None, *, limit: int | None = None) -> list[Summary]:
        """Versions, highest first within a model, models by name."""

    def names(self) -> list[str]:
        """All models."""

    def records(self) -> list[Record]:
        """Every version whose files are kept."""

    def hold(self, name: str, version: str, reason: str, event: LifecycleEvent) -> None:
        """Put a version under legal hold: its files stay whatever the age. Again replaces the reason."""

    def release_hold(self, name: str, version: str, event: LifecycleEvent) -> None:
        """Lift the hold.

        Raises:
            UnknownVersionError: it is under none.
        """

    def renew_key(self, name: str, version: str, wrapped: JsonValue, event: LifecycleEvent) -> None:
        """Keep the artifact's key as it is wrapped now; the manifest stays as it was put.

        Raises:
            UnknownVersionError: there is no such version.
        """

    def remove_files(self, versions: Sequence[tuple[str, str]], event: Callable[[str, str], LifecycleEvent]) -> int:
        """Mark the files of versions as no longer kept; facts and number stay. Held ones are passed over."""


def split_reference(reference: str) -> tuple[str, str]:
    """`name` or `name@version` in its two parts; without a version it is 'latest'.

    Raises:
        InvalidInputError: it is neither.
    """
    name, at, version = reference.partition("@")
    if not name or (at and not version):
        raise InvalidInputError("write name or name@version, as in triage@1.2.0", field="reference")
    return name, version or LATEST
