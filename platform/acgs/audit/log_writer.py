"""Appending to the audit log and signing its checkpoints: one writer at a time, each step safe to die after.

Order of a step: tiles and bundles behind the committed size, then the state file (the commit), then the checkpoint.
A crash before the commit leaves files that nobody reads and the next run replaces; a crash after it leaves a tree
whose checkpoint the next run signs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from acgs.audit.checkpoints import Checkpoint, open_checkpoint, sign_checkpoint
from acgs.audit.keys import SigningKey
from acgs.audit.log import CHECKPOINT_FILE, STATE_FILE, AuditLog, LogState, read_state
from acgs.audit.merkle import leaf_hash, perfect_root, verify_consistency
from acgs.audit.notes import VerifierKey, checked_name
from acgs.audit.tiles import ENTRIES, TILE_HEIGHT, TILE_WIDTH, encode_bundle, tile_width
from acgs.errors import IntegrityError, UnavailableError
from acgs.files import write_atomic

LOCK_FILE = "writer.lock"


class LogWriter:
    """The one writer of a log, from `open` to `close`."""

    def __init__(self, log: AuditLog, lock: int) -> None:
        self.log = log
        self._lock = lock
        self._edge = log.compact_range()

    @classmethod
    def open(cls, directory: Path, origin: str) -> LogWriter:
        """Lock the log, creating an empty one where there is none.

        Raises `UnavailableError` if another writer holds it, `IntegrityError` if it is damaged or another log.
        """
        lock = _lock(directory)
        try:
            state = read_state(directory) or _create(directory, origin)
            if state.origin != origin:
                raise IntegrityError(f"this log is {state.origin}, not {origin}; give its own origin")
            return cls(AuditLog(directory, state), lock)
        except BaseException:
            os.close(lock)
            raise

    def append(self, entries: Sequence[bytes], journals: Mapping[str, int]) -> LogState:
        """Add entries and commit them together with the journal positions they bring the log to."""
        old = self.log.size
        hashes = [leaf_hash(entry) for entry in entries]
        if entries:
            self._write_bundles(entries)
            self._write_tiles(hashes)
        for digest in hashes:
            self._edge.append(digest)
        state = LogState(
            origin=self.log.state.origin,
            size=self._edge.size,
            root=self._edge.root().hex(),
            journals=dict(sorted(journals.items())),
        )
        _commit(self.log.directory, state)
        self.log = AuditLog(self.log.directory, state)
        self._remove_superseded(old)
        return state

    def publish_checkpoint(self, key: SigningKey, retired: Sequence[VerifierKey] = ()) -> str:
        """Sign and store the checkpoint of the committed tree, and return it.

        `retired` are earlier keys of this log, one of which may have signed the previous checkpoint. Raises
        `IntegrityError`, and signs nothing, if the tree does not extend the previous checkpoint's.
        """
        state = self.log.state
        checkpoint = Checkpoint(state.origin, state.size, state.root_hash)
        previous = self.log.checkpoint_note()
        if previous is not None:
            own = VerifierKey(state.origin, key.public)
            if self._check_growth(open_checkpoint(previous, [own, *retired]), checkpoint):
                return previous
        note = sign_checkpoint(checkpoint, key)
        write_atomic(self.log.directory / CHECKPOINT_FILE, note.encode())
        return note

    def close(self) -> None:
        """Release the log."""
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_growth(self, previous: Checkpoint, new: Checkpoint) -> bool:
        """Refuse a tree that does not extend the previous checkpoint's; say whether they are the same."""
        if previous.origin != new.origin:
            raise IntegrityError(f"the stored checkpoint is that of {previous.origin}; nothing was signed")
        proof = self.log.consistency_proof(previous.size) if previous.size <= new.size else []
        verify_consistency(previous.size, previous.root, new.size, new.root, proof)
        return previous == new

    def _write_bundles(self, entries: Sequence[bytes]) -> None:
        first, filled = divmod(self.log.size, TILE_WIDTH)
        pending = [*(self.log.tiles.entries(first, filled) if filled else ()), *entries]
        for start in range(0, len(pending), TILE_WIDTH):
            bundle = pending[start : start + TILE_WIDTH]
            self.log.tiles.write(
                ENTRIES,
                first + start // TILE_WIDTH,
                len(bundle),
                encode_bundle(bundle),
                committed=filled if start == 0 else 0,
            )

    def _write_tiles(self, hashes: Sequence[bytes]) -> None:
        """Write the tiles that new leaves touch, level by level; each full tile adds one hash to the next level."""
        level, count = 0, self.log.size
        while hashes:
            first, filled = divmod(count, TILE_WIDTH)
            pending = [*(self.log.tiles.hashes(level, first, filled) if filled else ()), *hashes]
            completed: list[bytes] = []
            for start in range(0, len(pending), TILE_WIDTH):
                tile = pending[start : start + TILE_WIDTH]
                self.log.tiles.write(
                    level,
                    first + start // TILE_WIDTH,
                    len(tile),
                    b"".join(tile),
                    committed=filled if start == 0 else 0,
                )
                if len(tile) == TILE_WIDTH:
                    completed.append(perfect_root(tile))
            hashes = completed
            level, count = level + 1, count >> TILE_HEIGHT

    def _remove_superseded(self, old_size: int) -> None:
        """Remove the partial tiles that the commit replaced by wider ones."""
        new_size = self.log.size
        level = 0
        while new_size:
            edge = old_size // TILE_WIDTH
            width = tile_width(new_size, edge)
            if old_size != new_size and old_size % TILE_WIDTH:
                self.log.tiles.keep_only(level, edge, width)
                if level == 0:
                    self.log.tiles.keep_only(ENTRIES, edge, width)
            level, old_size, new_size = level + 1, old_size >> TILE_HEIGHT, new_size >> TILE_HEIGHT


def _create(directory: Path, origin: str) -> LogState:
    """Commit an empty log, so that a log without a state file is known to have lost it."""
    state = LogState(origin=checked_name(origin))
    _commit(directory, state)
    return state


def _commit(directory: Path, state: LogState) -> None:
    write_atomic(directory / STATE_FILE, state.model_dump_json(indent=1).encode())


def _lock(directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UnavailableError("another sequencer is writing to the audit log; let it finish") from None
    return lock
