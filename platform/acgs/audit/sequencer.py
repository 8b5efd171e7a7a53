"""Merging the journals of all replicas into the one log, each record exactly once, and signing the result.

How far a journal is merged is committed in the same file as the tree, so a crash at any point neither loses nor
repeats a record. A record that a replica wrote twice (it retried after an unclear failure) is merged once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acgs.audit.entry_index import INDEX_FILE, EntryIndex
from acgs.audit.journal_reader import read_batch, remove_merged
from acgs.audit.key_ring import read_ring
from acgs.audit.keys import SigningKey
from acgs.audit.layout import DEFAULT_ORIGIN, AuditDirectory
from acgs.audit.log import AuditLog
from acgs.audit.log_writer import LogWriter
from acgs.audit.merkle import leaf_hash
from acgs.audit.notes import VerifierKey
from acgs.errors import IntegrityError

# Entries per commit: bounds memory, and the work that a crash repeats.
BATCH_ENTRIES = 8192


@dataclass(frozen=True, slots=True)
class SequenceReport:
    """What a run did: the log's size and hex root, entries added, duplicates passed over, journals merged and gone."""

    size: int
    root: str
    added: int
    duplicates: int
    journals_removed: int
    checkpoint: str


def sequence(
    audit: AuditDirectory,
    key: SigningKey,
    *,
    origin: str = DEFAULT_ORIGIN,
    retired_keys: Sequence[VerifierKey] = (),
    batch_entries: int = BATCH_ENTRIES,
) -> SequenceReport:
    """Merge what the journals hold, sign a checkpoint, and delete journals that nobody needs any more.

    The last checkpoint may be signed by a key that this one replaced (`rotate_signing_key`), or by `retired_keys`.

    Raises `UnavailableError` if another sequencer is at work, and `IntegrityError` if the log or its previous
    checkpoint does not hold (nothing is signed) or a journal is damaged (all that is whole is merged and signed first;
    the damaged file stays as it is).
    """
    with LogWriter.open(audit.log, origin) as writer, EntryIndex(audit.log) as index:
        before = writer.log.size
        duplicates = 0
        index.catch_up(writer.log)
        batch = read_batch(audit.journals, writer.log.state.journals, batch_entries)
        while batch.entries:
            fresh = _not_yet_logged(batch.entries, writer.log, index)
            duplicates += len(batch.entries) - len(fresh)
            writer.append(fresh, batch.positions)
            index.catch_up(writer.log)
            batch = read_batch(audit.journals, writer.log.state.journals, batch_entries)
        rotated = (VerifierKey(origin, record.key) for record in read_ring(audit, key.public).retired)
        checkpoint = writer.publish_checkpoint(key, [*retired_keys, *rotated])
        removed = remove_merged(audit.journals, writer.log.state.journals)
        if batch.damaged:
            places = ", ".join(f"{name} at byte {offset}" for name, offset in sorted(batch.damaged.items()))
            raise IntegrityError(f"audit journal damaged: {places}; all before is merged. Keep the file")
        state = writer.log.state
        return SequenceReport(state.size, state.root, state.size - before, duplicates, removed, checkpoint)


def _not_yet_logged(entries: Sequence[bytes], log: AuditLog, index: EntryIndex) -> list[bytes]:
    """Return the entries that the log does not hold, each once."""
    fresh: dict[bytes, bytes] = {}
    for entry in entries:
        leaf = leaf_hash(entry)
        position = index.by_leaf(leaf)
        if position is None:
            fresh.setdefault(leaf, entry)
        elif log.entry(position) != entry:
            # Never drop a record because a derived file says so.
            raise IntegrityError(f"the log's index is wrong about entry {position}; delete {INDEX_FILE} and run again")
    return list(fresh.values())
