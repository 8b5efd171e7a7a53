"""Inclusion proofs as files, in the form of C2SP tlog-proof: index, hashes and the checkpoint they lead to."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from acgs.audit.checkpoints import Checkpoint, open_checkpoint
from acgs.audit.log import AuditLog
from acgs.audit.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from acgs.audit.notes import VerifierKey, decode_base64
from acgs.errors import IntegrityError, InvalidInputError, UnavailableError

_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Shows that an entry stands at `index` of the log that signed `checkpoint` (a note)."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def text(self) -> str:
        """Return the proof as a tlog-proof file."""
        hashes = [base64.b64encode(digest).decode("ascii") for digest in self.hashes]
        return "\n".join([_HEADER, f"index {self.index}", *hashes, "", self.checkpoint])

    @classmethod
    def parse(cls, text: str) -> InclusionProof:
        """Parse a tlog-proof file, passing over its extra data. Raises `InvalidInputError` if it is malformed."""
        head, separator, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not separator or lines[0] != _HEADER:
            raise InvalidInputError(f"a proof file starts with {_HEADER} and ends in a checkpoint; this is none")
        rest = lines[2:] if lines[1:] and lines[1].startswith("extra ") else lines[1:]
        index = rest[0].removeprefix("index ") if rest else ""
        if not rest or not rest[0].startswith("index ") or not (index.isascii() and index.isdigit()):
            raise InvalidInputError("the proof file does not name an index")
        hashes = tuple(decode_base64(line, "proof's hash") for line in rest[1:])
        if any(len(digest) != HASH_BYTES for digest in hashes):
            raise InvalidInputError("a hash of the proof is not 32 bytes long")
        return cls(int(index), hashes, checkpoint)


def prove_inclusion(log: AuditLog, index: int) -> InclusionProof:
    """Return the proof for an entry under the log's last checkpoint.

    Raises `UnavailableError` if no checkpoint covers the entry yet, `InvalidInputError` if there is no such entry,
    `IntegrityError` if the log does not lead from the entry to the checkpoint's root.
    """
    note = log.checkpoint_note()
    if note is None:
        raise UnavailableError("the log has no checkpoint yet; run `acgs audit sequence` first")
    checkpoint = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
    size = checkpoint.size
    if size > log.size:
        raise IntegrityError(f"{size} entries were signed but the log holds {log.size}: records were removed")
    if size <= index < log.size:
        raise UnavailableError(f"entry {index} is not under a checkpoint yet; run `acgs audit sequence` first")
    hashes = tuple(log.inclusion_proof(index, size))
    verify_inclusion(leaf_hash(log.entry(index)), index, size, hashes, checkpoint.root)
    return InclusionProof(index, hashes, note)


def verify_proof(proof: InclusionProof, leaf: bytes, trusted: Sequence[VerifierKey]) -> Checkpoint:
    """Return the checkpoint under which the proof shows `leaf` (a leaf hash); needs no log.

    Raises `IntegrityError` if the checkpoint or the proof does not hold.
    """
    checkpoint = open_checkpoint(proof.checkpoint, trusted)
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return checkpoint
