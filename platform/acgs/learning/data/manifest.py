"""The manifest beside a data set: what its files hold, where they came from and what was done to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acgs.errors import IntegrityError, InvalidInputError
from acgs.files import write_atomic

MANIFEST: Final = "manifest.json"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Part):
    """One file: digest, size in bytes, rows."""

    sha256: Digest
    size: int = Field(ge=0)
    rows: int = Field(ge=0)


class Operation(_Part):
    """One step that made the data, with all that it depended on."""

    name: str
    parameters: dict[str, Any] = {}
    seed: int | None = None


class Parent(_Part):
    """An input of the last operation: a file by its SHA-256, or a data set by its id."""

    name: str
    digest: Digest


class Manifest(_Part):
    """The whole manifest. `id` is the digest of the files' digests: the same rows have the same id everywhere."""

    format: int = 1
    id: Digest
    files: dict[str, FileEntry]
    columns: tuple[str, ...]
    constitution_digest: Digest | None = None
    parents: tuple[Parent, ...]
    origins: tuple[Digest, ...] = Field(min_length=1)
    """SHA-256 of the inputs that were first imported. The privacy ledger charges every one of them, so that filtering
    or splitting a data set does not buy a fresh budget for the same people."""
    operations: tuple[Operation, ...]

    @model_validator(mode="after")
    def _id_fits(self) -> Self:
        if self.id != dataset_id(self.files):
            raise ValueError("the id does not fit the files")
        return self

    @property
    def rows(self) -> int:
        """Rows of all data files."""
        return sum(entry.rows for entry in self.files.values())


def dataset_id(files: dict[str, FileEntry]) -> str:
    """SHA-256 over the canonical JSON of names and digests."""
    return hashlib.sha256(rfc8785.dumps({name: entry.sha256 for name, entry in files.items()})).hexdigest()


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe(path: Path) -> FileEntry:
    """The entry of a JSON lines file."""
    with path.open("rb") as handle:
        rows = sum(1 for _ in handle)
    return FileEntry(sha256=file_digest(path), size=path.stat().st_size, rows=rows)


def seal(
    directory: Path,
    names: Iterable[str],
    *,
    columns: Sequence[str],
    parents: Sequence[Parent],
    origins: Iterable[str],
    operations: Sequence[Operation],
    constitution_digest: str | None = None,
) -> Manifest:
    """Describe the named files and write the manifest, which makes the folder a data set."""
    files = {name: describe(directory / name) for name in sorted(names)}
    manifest = Manifest(
        id=dataset_id(files),
        files=files,
        columns=tuple(columns),
        constitution_digest=constitution_digest,
        parents=tuple(parents),
        origins=tuple(sorted(set(origins))),
        operations=tuple(operations),
    )
    write_atomic(directory / MANIFEST, manifest.model_dump_json(indent=1).encode() + b"\n")
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Read a manifest without looking at the files.

    Raises:
        InvalidInputError: the folder is no data set.
        IntegrityError: the manifest is damaged.
    """
    try:
        body = (directory / MANIFEST).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{directory} is no data set, it has no {MANIFEST}; make one with 'acgs data import'", field="data"
        ) from error
    try:
        return Manifest.model_validate_json(body)
    except ValidationError as error:
        raise IntegrityError(f"{directory / MANIFEST} is damaged; import the data again") from error


def verified_manifest(directory: Path) -> Manifest:
    """Read a manifest and check every file against it.

    Raises:
        InvalidInputError: the folder is no data set.
        IntegrityError: a file is missing or changed, or the manifest is damaged.
    """
    manifest = read_manifest(directory)
    for name, entry in manifest.files.items():
        if Path(name).name != name:
            raise IntegrityError(f"{directory.name}: the manifest names a file outside its folder")
        try:
            found = file_digest(directory / name)
        except OSError as error:
            raise IntegrityError(f"{directory.name}: {name} is missing; restore it or import again") from error
        if found != entry.sha256:
            raise IntegrityError(f"{directory.name}: {name} was changed after it was written; restore or import again")
    return manifest
