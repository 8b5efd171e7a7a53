"""Where bytes lie under names: the interface of every blob store, and how its failures are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from acgs.errors import AcgsError, IntegrityError, InvalidInputError, UnavailableError

CHUNKS: Final = "chunks/"
DRAFTS: Final = "drafts/"
"""What an interrupted write may leave; listed like all else, so that it is cleared away like all else."""
MAX_BLOB_BYTES: Final = 64 << 20
_NAME: Final = re.compile(r"^[a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*$")


class BlobMissingError(IntegrityError):
    """A blob that a manifest names is not in the store."""


class BlobStoreError(UnavailableError):
    """The store does not answer, refuses, or is full."""


class PointerChangedError(AcgsError):
    """Another writer changed the pointer first; read it and decide again."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Listed:
    """A blob as a listing shows it; `modified` is when it was written or last confirmed."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds under a name. `sha256` is None where it cannot say without sending the blob."""

    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Pointer:
    """A small object that may change, with the tag by which a change is noticed."""

    data: bytes
    etag: str


class BlobStore(Protocol):
    """Immutable blobs, and a few small pointers. Threads and processes share a store.

    Every method raises `BlobStoreError` if the store does not answer in time, refuses or is full; the message names the
    store and never a credential.
    """

    @property
    def place(self) -> str:
        """Where this is, for people."""
        ...

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Store `data` durably, whole or not at all; False if the name is taken, whose bytes then stand."""
        ...

    def get(self, name: str, *, limit: int = MAX_BLOB_BYTES) -> bytes:
        """The bytes under a name.

        Raises:
            BlobMissingError: there is none.
            IntegrityError: they are more than `limit`.
        """
        ...

    def stat(self, name: str) -> Stored | None:
        """What lies under a name; None if nothing does."""
        ...

    def size(self, name: str) -> int | None:
        """How many bytes lie under a name, without reading them; None if nothing does."""
        ...

    def touch(self, name: str) -> bool:
        """Make the blob as young as one written now, so that a clean-up by age spares it; False if there is none."""
        ...

    def delete(self, name: str, *, not_since: datetime | None = None) -> bool:
        """Remove a blob unless it was written or touched after `not_since`; whether one was removed."""
        ...

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """All blobs whose names begin with `prefix`, in no order."""
        ...

    def read(self, name: str) -> Pointer | None:
        """A pointer; None if it was never set."""
        ...

    def swap(self, name: str, expected: str | None, data: bytes) -> str:
        """Set a pointer if its tag is still `expected` (None: not there yet); returns its new tag.

        Raises:
            PointerChangedError: it is another.
        """
        ...


def check_name(name: str) -> str:
    """The name, if a blob may have it.

    Raises:
        InvalidInputError: it is not made of lower-case words, digits, '.', '_', '-', divided by '/'.
    """
    if len(name) > 512 or not _NAME.match(name) or ".." in name:
        raise InvalidInputError(f"{name[:80]!r} is no name for a blob", field="name")
    return name


def missing(name: str, place: str) -> BlobMissingError:
    """The error for a blob that is not there."""
    return BlobMissingError(f"{name} is missing from {place}; restore it from a copy of the store", field="name")


def oversize(name: str, place: str, limit: int) -> IntegrityError:
    """The error for a blob that is longer than what was stored."""
    return IntegrityError(f"{name} in {place} has more than {limit} bytes; it is not what was stored", field="name")


def changed(name: str) -> PointerChangedError:
    """The error for a swap that came second."""
    return PointerChangedError(f"{name} was changed by another; read it and try again", field="name")
