"""Reading the journals of all replicas, living and dead, from where the log has them merged.

A journal whose lock is held has a living writer: what follows its last whole record may still be completed. One whose
lock is free was left by a dead process or by rotation: a torn tail there is cut off, and a file that is merged to its
end can go.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from acgs.audit.frames import FILE_MAGIC, FIRST_RECORD, Scan, scan
from acgs.audit.journal import JOURNAL_SUFFIX
from acgs.files import sync_directory

READ_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """Entries that wait to be merged, the offset behind them per journal, and the offset of damage where there is."""

    entries: list[bytes] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, int] = field(default_factory=dict)


def read_batch(directory: Path, merged: Mapping[str, int], limit: int) -> JournalBatch:
    """Return up to `limit` entries that `merged` does not cover, in the order of file names and offsets.

    Damage in one journal does not hold back the others, nor what precedes it in its own. Journals that are gone drop
    out of the positions.
    """
    batch = JournalBatch()
    for path in _journals(directory):
        start = merged.get(path.name, FIRST_RECORD)
        found = _read(path, start, limit - len(batch.entries))
        batch.entries.extend(record.payload for record in found.records)
        batch.positions[path.name] = start + found.end
        if found.damaged_at is not None:
            batch.damaged[path.name] = start + found.damaged_at
    return batch


def remove_merged(directory: Path, merged: Mapping[str, int]) -> int:
    """Delete the journals of dead writers that are merged to their end; return how many."""
    removed = 0
    for path in _journals(directory):
        with _opened(path) as (descriptor, living):
            if not living and os.fstat(descriptor).st_size <= merged.get(path.name, FIRST_RECORD):
                path.unlink()
                removed += 1
    if removed:
        sync_directory(directory)
    return removed


def _journals(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"[!.]*{JOURNAL_SUFFIX}"))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, bool]]:
    """Yield the file's descriptor and whether its writer lives; a dead writer's file is locked meanwhile."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            living = False
        except BlockingIOError:
            living = True
        yield descriptor, living
    finally:
        os.close(descriptor)


def _read(path: Path, start: int, limit: int) -> Scan:
    """Return the records from `start` on, offsets relative to it; cut off the torn tail of a dead writer."""
    with _opened(path) as (descriptor, living):
        found = _scan_file(descriptor, start, limit, living=living)
        if living and found.damaged_at is not None:
            # The writer may just have taken back a half-written record; damage is still there on a second look.
            found = _scan_file(descriptor, start, limit, living=living)
        torn = not living and found.damaged_at is None and len(found.records) < limit
        end = start + found.end
        if torn and end < os.fstat(descriptor).st_size <= start + READ_BYTES:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
        return found


def _scan_file(descriptor: int, start: int, limit: int, *, living: bool) -> Scan:
    size = os.fstat(descriptor).st_size
    if start >= size:
        # A dead machine may lose a tail that the log already holds; a living writer's file never shrinks below it.
        return Scan((), 0, 0 if living and start > size else None)
    if os.pread(descriptor, FIRST_RECORD, 0) != FILE_MAGIC:
        return Scan((), 0, 0)
    data = os.pread(descriptor, READ_BYTES, start)
    found = scan(data, limit=limit)
    stuck = limit > 0 and not found.records and found.damaged_at is None and start + len(data) < size
    return Scan((), 0, 0) if stuck else found
