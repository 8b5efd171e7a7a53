"""What an artifact consists of: its files, the chunks that hold them, and the wrapped keys that open these.

`Manifest.digest` names the content alone. Keys, chunk borders and stored bytes may change (rotation, another
compressor) without a new digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from acgs.registry.artifacts.paths import path_fault, sort_key

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""64 hex digits."""
Hex = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{2})+$", max_length=8192)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WrappedKey(_Part):
    """A key that only the named key of a provider opens."""

    key_id: str = Field(min_length=1, max_length=2048)
    data: Hex


class Chunk(_Part):
    """One stored piece of a file."""

    name: Sha256 = Field(description="its name in the store: a keyed digest of the plain bytes")
    size: int = Field(ge=1, description="plain bytes")
    sha256: Sha256 = Field(description="of the plain bytes")
    stored_size: int = Field(ge=1)
    stored_sha256: Sha256
    key: Hex = Field(description="the chunk's key, wrapped by the artifact's (RFC 3394)")


class FileEntry(_Part):
    """One file; its chunks in order."""

    path: str = Field(description="relative, posix")
    size: int = Field(ge=0)
    sha256: Sha256
    chunks: tuple[Chunk, ...]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if fault := path_fault(path):
            raise ValueError(f"{path!r} {fault}")
        return path

    @model_validator(mode="after")
    def _is_covered(self) -> Self:
        if sum(chunk.size for chunk in self.chunks) != self.size:
            raise ValueError(f"the chunks of {self.path!r} do not make up its size")
        return self


class Manifest(_Part):
    """An artifact as it is stored."""

    format: Literal["acgs-artifact/1"] = "acgs-artifact/1"
    files: tuple[FileEntry, ...] = Field(min_length=1)
    key: WrappedKey = Field(description="the artifact's key, wrapped by the provider's")

    @field_validator("files")
    @classmethod
    def _are_sorted(cls, files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        paths = [entry.path for entry in files]
        if paths != sorted(set(paths), key=sort_key):
            raise ValueError("files are sorted by path, each once")
        folders = {"/".join(parts[:n]) for parts in map(sort_key, paths) for n in range(1, len(parts))}
        if clash := folders & set(paths):
            raise ValueError(f"{min(clash)!r} is a file and a folder")
        return files

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of (path, size, SHA-256) of every file; 64 hex digits."""
        return content_digest((entry.path, entry.size, entry.sha256) for entry in self.files)

    @property
    def size(self) -> int:
        """Plain bytes of all files."""
        return sum(entry.size for entry in self.files)

    @property
    def chunk_names(self) -> frozenset[str]:
        """The chunks that must be kept for this artifact."""
        return frozenset(chunk.name for entry in self.files for chunk in entry.chunks)


def content_digest(files: Iterator[tuple[str, int, str]]) -> str:
    """The digest that (path, size, SHA-256) of all files give, in whatever order they come."""
    listed = sorted(files, key=lambda entry: sort_key(entry[0]))
    # Sizes as text: canonical JSON has no integers beyond 2^53.
    return hashlib.sha256(rfc8785.dumps([[path, str(size), sha] for path, size, sha in listed])).hexdigest()
