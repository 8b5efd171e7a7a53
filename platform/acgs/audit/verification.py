"""Checking a whole log against the keys one trusts: entries, tree, checkpoint, and growth since an older checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acgs.audit.checkpoints import Checkpoint, open_checkpoint
from acgs.audit.entries import parse_entry
from acgs.audit.keys import PublicKey
from acgs.audit.log import AuditLog
from acgs.audit.merkle import CompactRange, leaf_hash, verify_consistency
from acgs.audit.notes import VerifierKey
from acgs.audit.receipts import Receipt, verify_receipt
from acgs.errors import AcgsError, IntegrityError

# A thoroughly broken log would otherwise fill the memory with reasons.
MAX_FAULTS = 100


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a check of the log found; it holds if `faults` is empty.

    `unsigned` entries are committed but not yet under a checkpoint, as after a sequencer's crash.
    """

    size: int
    root: str
    receipts: int
    events: int
    unsigned: int
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.faults


def verify_log(
    log: AuditLog,
    log_keys: Sequence[VerifierKey],
    receipt_keys: Sequence[PublicKey],
    *,
    ends: Mapping[str, int] | None = None,
) -> LogReport:
    """Recompute the root from the entries, and check every receipt's signature and the last checkpoint.

    Args:
        ends: how many entries the log had when a key was retired, by the key's identifier; from there on it counts no
            more.
    """
    ends = ends or {}
    faults: list[str] = []
    kinds = {"receipt": 0, "event": 0}
    checkpoint = _trusted_checkpoint(log, log_keys, faults)
    tree = CompactRange()
    signed_root = tree.root()
    try:
        for position, entry in enumerate(log.entries()):
            leaf = leaf_hash(entry)
            tree.append(leaf)
            if checkpoint is not None and tree.size == checkpoint.size:
                signed_root = tree.root()
            if leaf != log.node(0, position):
                faults.append(f"entry {position} does not fit its leaf hash")
            try:
                kinds[_check_entry(entry, keys_at(position, receipt_keys, ends))] += 1
            except AcgsError as error:
                faults.append(f"entry {position}: {error.message}")
            if len(faults) >= MAX_FAULTS:
                break
        else:
            faults.extend(_tree_faults(log, tree, checkpoint, signed_root))
    except AcgsError as error:
        faults.append(error.message)
    unsigned = log.size - (checkpoint.size if checkpoint is not None else 0)
    return LogReport(
        tree.size, tree.root().hex(), kinds["receipt"], kinds["event"], max(0, unsigned), tuple(faults[:MAX_FAULTS])
    )


def keys_at(position: int, keys: Sequence[PublicKey], ends: Mapping[str, int]) -> Sequence[PublicKey]:
    """The keys that may have signed what stands at a place of the log."""
    return [key for key in keys if position < ends.get(key.key_id, position + 1)] if ends else keys


def verify_growth(log: AuditLog, older: str, newer: str | None, keys: Sequence[VerifierKey]) -> tuple[int, int]:
    """Check that the log grew from the checkpoint `older` to `newer` (default: its last) by appending only.

    Returns both sizes. Raises `IntegrityError` if it did not.
    """
    note = newer if newer is not None else log.checkpoint_note()
    if note is None:
        raise IntegrityError("the log has no checkpoint, though an older one was signed: records were removed")
    old, new = open_checkpoint(older, keys), open_checkpoint(note, keys)
    if old.origin != new.origin:
        raise IntegrityError(f"the checkpoints are of two logs, {old.origin} and {new.origin}")
    if new.size > log.size:
        raise IntegrityError(f"{new.size} entries were signed but the log holds {log.size}: records were removed")
    proof = log.consistency_proof(old.size, new.size) if old.size <= new.size else []
    verify_consistency(old.size, old.root, new.size, new.root, proof)
    return old.size, new.size


def _trusted_checkpoint(log: AuditLog, keys: Sequence[VerifierKey], faults: list[str]) -> Checkpoint | None:
    note = log.checkpoint_note()
    if note is None:
        faults.append("the log has no signed checkpoint; run `acgs audit sequence`")
        return None
    try:
        checkpoint = open_checkpoint(note, keys)
    except AcgsError as error:
        faults.append(f"checkpoint: {error.message}")
        return None
    if checkpoint.origin != log.state.origin:
        faults.append(f"the checkpoint is that of {checkpoint.origin}, the log is {log.state.origin}")
        return None
    return checkpoint


def _check_entry(entry: bytes, keys: Sequence[PublicKey]) -> str:
    parsed = parse_entry(entry)
    if isinstance(parsed, Receipt):
        verify_receipt(parsed, keys)
    return parsed.type


def _tree_faults(log: AuditLog, tree: CompactRange, checkpoint: Checkpoint | None, signed_root: bytes) -> list[str]:
    faults: list[str] = []
    if tree.root() != log.state.root_hash:
        faults.append("the entries do not add up to the log's root")
    if log.root_at(log.size) != log.state.root_hash:
        faults.append("the tiles do not add up to the log's root")
    if checkpoint is None:
        return faults
    if checkpoint.size > log.size:
        faults.append(f"{checkpoint.size} entries were signed but the log holds {log.size}: records were removed")
    elif checkpoint.root != signed_root:
        faults.append("the entries do not add up to the checkpoint's root")
    return faults
