"""Checkpoints as in C2SP tlog-checkpoint: a signed note of the log's origin, size and root hash."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from acgs.audit.keys import SigningKey
from acgs.audit.merkle import HASH_BYTES
from acgs.audit.notes import VerifierKey, decode_base64, open_note, sign_note
from acgs.errors import IntegrityError, InvalidInputError

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says about itself: `size` leaves under `root` (32 bytes), in the log called `origin`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the note's text: three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Parse a note's text; extension lines are passed over. Raises `InvalidInputError` if it is malformed."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise InvalidInputError("a checkpoint has the lines origin, size and root hash; this has not")
        origin, size, root = lines[:3]
        if not _DECIMAL.fullmatch(size):
            raise InvalidInputError("the checkpoint's size is not a decimal number without leading zeros")
        digest = decode_base64(root, "checkpoint's root hash")
        if len(digest) != HASH_BYTES:
            raise InvalidInputError("the checkpoint's root hash is not 32 bytes long")
        return cls(origin, int(size), digest)


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return the checkpoint as a note signed under the log's origin."""
    return sign_note(checkpoint.text(), checkpoint.origin, key)


def open_checkpoint(note: str, trusted: Sequence[VerifierKey]) -> Checkpoint:
    """Return the checkpoint in a note that a trusted key signed under the log's own name.

    Raises `IntegrityError` if no trusted signature under that name holds, `InvalidInputError` if it is malformed.
    """
    opened = open_note(note, trusted)
    checkpoint = Checkpoint.parse(opened.text)
    if all(key.name != checkpoint.origin for key in opened.signers):
        raise IntegrityError(f"the checkpoint speaks for {checkpoint.origin}, but its signer has another name")
    return checkpoint
