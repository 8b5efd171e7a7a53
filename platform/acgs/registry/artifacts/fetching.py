"""Fetches an artifact into a folder that appears only when every byte in it was verified.

Chunks are written to a folder beside the target, whose name holds the artifact's digest. An interrupted fetch leaves it
there, and the next one keeps what is right in it. At the end it is flushed and renamed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import sync_directory
from acgs.registry.artifacts.blobs import BlobStore
from acgs.registry.artifacts.folder import folder_differences
from acgs.registry.artifacts.manifest import Chunk, FileEntry, Manifest
from acgs.registry.artifacts.opening_chunks import plain_bytes, stored_bytes
from acgs.registry.artifacts.transfer import Meter, TransferPool

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Fetch:
    """One artifact on its way into a folder."""

    def __init__(self, blobs: BlobStore, artifact_key: bytes, manifest: Manifest, meter: Meter) -> None:
        self._blobs = blobs
        self._key = artifact_key
        self._manifest = manifest
        self._meter = meter

    def run(self, target: Path, workers: int) -> None:
        """Have the artifact in `target`: fetched, or there already and verified.

        Raises:
            IntegrityError: a chunk is missing, changed or of another key; nothing appears.
            UnavailableError: the store does not answer, or the disk is full.
            InvalidInputError: `target` holds something else.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _alone(target):
                if _is_there(target, self._manifest):
                    self._meter.add(self._manifest.size, moved=False)
                    return
                part = target.parent / f".{target.name}.{self._manifest.digest[:16]}.part"
                self._fill(part, workers)
                part.replace(target)
                sync_directory(target.parent)
        except OSError as error:
            reason = "its disk is full; make room" if error.errno in _FULL else (error.strerror or str(error))
            raise UnavailableError(f"cannot write to {target}: {reason}", field="target") from error

    def _fill(self, part: Path, workers: int) -> None:
        try:
            part.mkdir(mode=0o755, exist_ok=True)
            with TransferPool(workers) as pool:
                for entry in self._manifest.files:
                    self._fill_file(entry, part / entry.path, pool)
            if differences := folder_differences(part, _expected(self._manifest)):
                raise IntegrityError(f"what was fetched is not the artifact: {differences[0]}", field="artifact")
            _sync(part)
        except (IntegrityError, OSError):
            # Damage is not resumed, and on a full disk what is half there is in the way.
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _fill_file(self, entry: FileEntry, place: Path, pool: TransferPool) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        begun = place.exists()
        _make_room(place, entry.size)
        offset = 0
        for chunk in entry.chunks:
            pool.submit(self._fill_chunk, chunk, place, offset, begun)
            offset += chunk.size

    def _fill_chunk(self, chunk: Chunk, place: Path, offset: int, begun: bool) -> None:
        with place.open("r+b", buffering=0) as handle:
            present = os.pread(handle.fileno(), chunk.size, offset) if begun else b""
            there = hashlib.sha256(present).hexdigest() == chunk.sha256
            if not there:
                view = memoryview(plain_bytes(self._key, chunk, stored_bytes(self._blobs, chunk)))
                while view:
                    written = os.pwrite(handle.fileno(), view, offset)
                    view, offset = view[written:], offset + written
        self._meter.add(chunk.size, moved=not there)


def _is_there(target: Path, manifest: Manifest) -> bool:
    if not os.path.lexists(target):
        return False
    if target.is_dir() and not target.is_symlink():
        if not any(target.iterdir()):
            return False
        if not folder_differences(target, _expected(manifest)):
            return True
    raise InvalidInputError(
        f"{target} is there already and is not this artifact; choose another folder or remove it", field="target"
    )


def _expected(manifest: Manifest) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in manifest.files}


def _sync(part: Path) -> None:
    """The disk's promise to keep the folder and all in it."""
    for folder, _, files in os.walk(part):
        for file in files:
            # A folder's flush is that of any descriptor.
            sync_directory(Path(folder) / file)
        sync_directory(Path(folder))


def _make_room(place: Path, size: int) -> None:
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One fetch to a target at a time, over all processes; the next one finds it there. No lock file is left."""
    path = target.parent / f".{target.name}.lock"
    descriptor = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            # Who held it removed it at the end: then another may hold a new one under the same name.
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
