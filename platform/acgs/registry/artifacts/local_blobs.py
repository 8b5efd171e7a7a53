"""Blobs in a folder: `chunks/ab/ab12...` and so on, written whole, flushed, then linked to their names."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from acgs.files import sync_directory, write_atomic
from acgs.registry.artifacts.blobs import (
    DRAFTS,
    MAX_BLOB_BYTES,
    BlobStoreError,
    Listed,
    Pointer,
    Stored,
    changed,
    check_name,
    missing,
    oversize,
)

_LOCK: Final = ".lock"
_SHARD_CHARS: Final = 2
_BLOCK: Final = 1 << 20


class LocalBlobs:
    """`BlobStore` in a folder of a file system with hard links and locks."""

    def __init__(self, root: Path) -> None:
        """Use `root`, and make it if absent. Raises `BlobStoreError` if that cannot be done."""
        self._root = root.absolute()
        with self._failures("open the folder"):
            (self._root / DRAFTS).mkdir(parents=True, exist_ok=True)
            (self._root / _LOCK).touch()

    @property
    def place(self) -> str:
        """See `BlobStore.place`."""
        return str(self._root)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """See `BlobStore.put_if_absent`."""
        path = self._path(name)
        with self._failures(f"write {name}"):
            if path.exists():
                return False
            draft = self._root / DRAFTS / secrets.token_hex(16)
            try:
                _write(draft, data)
                self._make_folder(path.parent)
                # A link, unlike a rename, fails if another writer was first.
                os.link(draft, path)
            except FileExistsError:
                return False
            finally:
                draft.unlink(missing_ok=True)
            sync_directory(path.parent)
            return True

    def get(self, name: str, *, limit: int = MAX_BLOB_BYTES) -> bytes:
        """See `BlobStore.get`."""
        with self._failures(f"read {name}"):
            try:
                with self._path(name).open("rb") as handle:
                    data = handle.read(limit + 1)
            except FileNotFoundError:
                raise missing(name, self.place) from None
        if len(data) > limit:
            raise oversize(name, self.place, limit)
        return data

    def stat(self, name: str) -> Stored | None:
        """See `BlobStore.stat`. The bytes are read and hashed: a file may have changed under its name."""
        with self._failures(f"read {name}"):
            try:
                with self._path(name).open("rb") as handle:
                    digest = hashlib.file_digest(handle, "sha256").hexdigest()
                    return Stored(os.fstat(handle.fileno()).st_size, digest)
            except FileNotFoundError:
                return None

    def size(self, name: str) -> int | None:
        """See `BlobStore.size`."""
        with self._failures(f"look at {name}"):
            try:
                return self._path(name).stat().st_size
            except FileNotFoundError:
                return None

    def touch(self, name: str) -> bool:
        """See `BlobStore.touch`."""
        with self._failures(f"touch {name}"), self._locked(fcntl.LOCK_SH):
            try:
                os.utime(self._path(name))
            except FileNotFoundError:
                return False
            return True

    def delete(self, name: str, *, not_since: datetime | None = None) -> bool:
        """See `BlobStore.delete`."""
        path = self._path(name)
        with self._failures(f"remove {name}"), self._locked(fcntl.LOCK_EX):
            try:
                if not_since is not None and _modified(path.stat()) > not_since:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
            return True

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """See `BlobStore.list`."""
        with self._failures("list the folder"):
            for folder, _, files in os.walk(self._root, onerror=_raise):
                for file in files:
                    path = Path(folder) / file
                    if file.startswith(".") or not (name := self._name(path)).startswith(prefix):
                        continue
                    try:
                        found = path.stat()
                    except FileNotFoundError:
                        continue
                    yield Listed(name, found.st_size, _modified(found))

    def read(self, name: str) -> Pointer | None:
        """See `BlobStore.read`."""
        with self._failures(f"read {name}"):
            try:
                data = self._path(name).read_bytes()
            except FileNotFoundError:
                return None
        return Pointer(data, _etag(data))

    def swap(self, name: str, expected: str | None, data: bytes) -> str:
        """See `BlobStore.swap`."""
        with self._failures(f"write {name}"), self._locked(fcntl.LOCK_EX):
            present = self.read(name)
            if (present and present.etag) != expected:
                raise changed(name)
            write_atomic(self._path(name), data)
        return _etag(data)

    def _path(self, name: str) -> Path:
        check_name(name)
        folder, _, last = name.rpartition("/")
        if f"{folder}/" == DRAFTS:
            return self._root / folder / last
        return self._root / folder / last[:_SHARD_CHARS] / last

    def _name(self, path: Path) -> str:
        folder = path.parent if path.parent == self._root / DRAFTS else path.parent.parent
        return (folder.relative_to(self._root) / path.name).as_posix()

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            sync_directory(folder.parent)

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self._root / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _failure(what, self.place, error) from error


def _failure(what: str, place: str, error: OSError) -> BlobStoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BlobStoreError(f"cannot {what}: the disk of {place} is full; make room and run it again", field="place")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return BlobStoreError(f"cannot {what}: no right to it in {place}; check the owner and mode", field="place")
    return BlobStoreError(f"cannot {what} in {place}: {error.strerror or error}", field="place")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _modified(found: os.stat_result) -> datetime:
    return datetime.fromtimestamp(found.st_mtime, UTC)


def _raise(error: OSError) -> None:
    raise error
