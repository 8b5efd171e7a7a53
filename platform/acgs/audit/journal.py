"""A replica's write-ahead journal: a record is on file before the decision is given.

One process owns each file, under an exclusive lock for as long as it lives; a new process opens a new file. With
durability `os` an acknowledged record survives the death of the process, with `fsync` also that of the machine.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from acgs.audit.entries import MAX_ENTRY_BYTES
from acgs.audit.frames import FILE_MAGIC, FIRST_RECORD, frame_all
from acgs.audit.group_commit import GroupCommit
from acgs.errors import AuditWriteError, InvalidInputError
from acgs.files import sync_directory

JOURNAL_SUFFIX = ".wal"
ROTATE_BYTES = 64 * 1024 * 1024
_REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

Durability = Literal["os", "fsync"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands: the journal file's name and the offset in bytes just behind the record."""

    journal: str
    offset: int


class Journal:
    """Appends records to the replica's files. Safe to call from several threads; the async calls from one loop."""

    def __init__(
        self, directory: Path, replica_id: str, *, durability: Durability = "os", rotate_bytes: int = ROTATE_BYTES
    ) -> None:
        """Open a new file. Raises `AuditWriteError` if that fails, `InvalidInputError` for an unusable `replica_id`."""
        if not _REPLICA_ID.fullmatch(replica_id):
            raise InvalidInputError("a replica id has 1 to 64 letters, digits, dots, dashes", field="replica_id")
        self._directory = directory
        self._replica_id = replica_id
        self._durable = durability == "fsync"
        self._rotate_bytes = rotate_bytes
        self._lock = threading.Lock()
        self._flusher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit-fsync")
        self._closed = False
        self._segment = self._open_segment()

    def append(self, entry: bytes) -> Position:
        """Write one record and return where it stands, once it is as durable as asked.

        Raises `AuditWriteError` if it could not be written: the decision must not be given.
        """
        return self.append_batch([entry])[0]

    def append_batch(self, entries: Sequence[bytes]) -> list[Position]:
        """Write several records in one go; all are acknowledged or none."""
        segment, positions = self._write(entries)
        if self._durable:
            segment.sync()
        return positions

    async def append_async(self, entry: bytes) -> Position:
        """As `append`, on an event loop: the flush to disk runs in a thread and is shared by concurrent appends."""
        return (await self.append_batch_async([entry]))[0]

    async def append_batch_async(self, entries: Sequence[bytes]) -> list[Position]:
        """As `append_batch`, on an event loop."""
        segment, positions = self._write(entries)
        if self._durable:
            await segment.commit.flushed()
        return positions

    def close(self) -> None:
        """Flush and release the file; further appends are refused."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            segment = self._segment
        try:
            if not segment.failed:
                segment.sync()
        finally:
            segment.retire()
            self._flusher.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, entries: Sequence[bytes]) -> tuple[_Segment, list[Position]]:
        for entry in entries:
            if not 0 < len(entry) <= MAX_ENTRY_BYTES:
                raise InvalidInputError(f"an audit entry has 1 to {MAX_ENTRY_BYTES} bytes, this one {len(entry)}")
        block, ends = frame_all(entries)
        with self._lock:
            segment = self._writable_segment(len(block))
            start = segment.write(block)
        return segment, [Position(segment.name, start + end) for end in ends]

    def _writable_segment(self, size: int) -> _Segment:
        if self._closed:
            raise AuditWriteError("the audit journal is closed; the replica is shutting down")
        segment = self._segment
        full = segment.size > FIRST_RECORD and segment.size + size > self._rotate_bytes
        if full or segment.failed:
            self._segment = self._open_segment()
            segment.retire()
        return self._segment

    def _open_segment(self) -> _Segment:
        return _Segment(self._directory, self._replica_id, self._flusher, durable=self._durable)


class _Segment:
    """One file of a journal."""

    def __init__(self, directory: Path, replica_id: str, flusher: ThreadPoolExecutor, *, durable: bool) -> None:
        self.name = f"{replica_id}-{time.time_ns():020d}-{secrets.token_hex(4)}{JOURNAL_SUFFIX}"
        self.size = FIRST_RECORD
        self.failed = False
        self.commit = GroupCommit(self.sync, flusher)
        self._directory = directory
        self._flusher = flusher
        self._synced = 0
        self._durable = durable
        self._retired = False
        self._sync_lock = threading.Lock()
        try:
            self._descriptor: int | None = _create_locked(directory, self.name)
        except OSError as error:
            raise AuditWriteError(f"no audit journal can be opened ({error.strerror}); check the state disk") from error

    def write(self, block: bytes) -> int:
        """Append `block` and return the offset at which it starts; the caller holds the journal's lock."""
        start, written = self.size, 0
        try:
            while written < len(block):
                written += os.write(self._open_descriptor(), memoryview(block)[written:])
        except OSError as error:
            self._take_back()
            raise AuditWriteError(
                f"the audit record was not written ({error.strerror}); check the state disk"
            ) from error
        self.size = start + len(block)
        return start

    def sync(self) -> None:
        """Flush all that was written. Raises `AuditWriteError` if it may be lost; so does every later call."""
        with self._sync_lock:
            if self.failed:
                raise AuditWriteError("an earlier flush of this audit journal failed; its records are not confirmed")
            try:
                self._flush(self.size)
            finally:
                self._release_if_idle()

    def retire(self) -> None:
        """Stop using the file; it is closed, and its lock with it, as soon as nobody waits for its flush."""
        self._retired = True
        if self._durable:
            # Not here: a running flush holds the lock, and the caller may be an event loop.
            self._flusher.submit(self._release_when_free)
        else:
            self._release_when_free()

    def _release_when_free(self) -> None:
        with self._sync_lock:
            self._release_if_idle()

    def _release_if_idle(self) -> None:
        """Close a retired file unless records written to it still wait for a flush; the caller holds the lock."""
        idle = not self._durable or self.failed or self._synced >= self.size
        if self._retired and idle and self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _flush(self, target: int) -> None:
        if self._synced >= target:
            return
        try:
            os.fdatasync(self._open_descriptor())
            if self._synced == 0:
                sync_directory(self._directory)
        except OSError as error:
            # The kernel may have dropped the dirty pages; a second attempt would report a false success.
            self.failed = True
            raise AuditWriteError(f"the audit record did not reach the disk ({error.strerror})") from error
        self._synced = target

    def _take_back(self) -> None:
        """Cut off a half-written record; where even that fails, leave it as the torn tail of an abandoned file."""
        try:
            os.ftruncate(self._open_descriptor(), self.size)
        except OSError:
            self.failed = True

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise AuditWriteError("the audit journal file is closed")
        return self._descriptor


def _create_locked(directory: Path, name: str) -> int:
    """Create a journal file that nobody can see unlocked: it is locked under a hidden name, then renamed."""
    directory.mkdir(parents=True, exist_ok=True)
    hidden = directory / f".{name}.new"
    descriptor = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, FILE_MAGIC)
        hidden.rename(directory / name)
    except BaseException:
        os.close(descriptor)
        hidden.unlink(missing_ok=True)
        raise
    return descriptor
