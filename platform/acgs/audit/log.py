"""Reading the audit log: entries, roots and proofs of the last committed state."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from acgs.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    NodeSource,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    subtree_root,
)
from acgs.audit.tiles import TILE_DIRECTORY, TILE_WIDTH, TileStore, stored_node, tile_width
from acgs.errors import IntegrityError, InvalidInputError, UnavailableError

STATE_FILE = "state.json"
CHECKPOINT_FILE = "checkpoint"


class LogState(BaseModel):
    """The tree and how far each journal is merged into it; one file, so that the two never disagree."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: str
    size: int = Field(0, ge=0)
    root: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = EMPTY_ROOT.hex()
    journals: dict[str, int] = Field(default_factory=dict, description="file name -> offset behind the last record")

    @property
    def root_hash(self) -> bytes:
        """The root as 32 bytes."""
        return bytes.fromhex(self.root)


def read_state(directory: Path) -> LogState | None:
    """Return the committed state, or None where there is no log yet.

    Raises `IntegrityError` if the file is damaged, or gone although the log holds something.
    """
    try:
        return LogState.model_validate_json((directory / STATE_FILE).read_bytes())
    except FileNotFoundError:
        if (directory / CHECKPOINT_FILE).exists() or (directory / TILE_DIRECTORY).exists():
            raise IntegrityError("the audit log has lost its state file; restore it from a copy") from None
        return None
    except ValidationError as error:
        raise IntegrityError("the audit log's state file is damaged; restore it from a copy") from error


class AuditLog:
    """The log as committed when it was opened. Later growth is not seen; open again for it."""

    def __init__(self, directory: Path, state: LogState) -> None:
        self.directory = directory
        self.state = state
        self.tiles = TileStore(directory)

    @classmethod
    def open(cls, directory: Path) -> AuditLog:
        """Open for reading. Raises `UnavailableError` if nothing was sequenced yet, `IntegrityError` if damaged."""
        state = read_state(directory)
        if state is None:
            raise UnavailableError("there is no audit log yet; run `acgs audit sequence` first")
        return cls(directory, state)

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.state.size

    @property
    def node(self) -> NodeSource:
        """The tree's perfect subtrees."""
        return partial(stored_node, self.tiles, self.size)

    def checkpoint_note(self) -> str | None:
        """Return the last signed checkpoint, or None if none was signed yet."""
        try:
            return (self.directory / CHECKPOINT_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise IntegrityError("the audit log's checkpoint file is damaged; restore it from a copy") from error

    def compact_range(self) -> CompactRange:
        """Return the tree's right edge. Raises `IntegrityError` if the tiles do not add up to the committed root."""
        edge = CompactRange.of_tree(self.size, self.node)
        if edge.root() != self.state.root_hash:
            raise IntegrityError("the audit log's tiles do not add up to its root; restore it from a copy")
        return edge

    def root_at(self, size: int) -> bytes:
        """Return the root of the first `size` entries."""
        if not 0 <= size <= self.size:
            raise InvalidInputError(f"the log has {self.size} entries; {size} is out of its range")
        return subtree_root(0, size, self.node)

    def entry(self, index: int) -> bytes:
        """Return one entry. Raises `InvalidInputError` if there is none at `index`, `IntegrityError` if altered."""
        if not 0 <= index < self.size:
            raise InvalidInputError(f"the log has {self.size} entries, numbered from 0; {index} is not one of them")
        entry = next(self.entries(index, index + 1))
        if leaf_hash(entry) != self.node(0, index):
            raise IntegrityError(f"entry {index} does not fit its leaf hash: it was altered")
        return entry

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the entries from `start` up to `end` (default: all), unchecked, a bundle at a time."""
        end = self.size if end is None else min(end, self.size)
        while start < end:
            bundle, offset = divmod(start, TILE_WIDTH)
            entries = self.tiles.entries(bundle, tile_width(self.size, bundle))[offset : offset + end - start]
            yield from entries
            start += len(entries)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that entry `index` is in the tree of the first `size` entries (default: all)."""
        return inclusion_proof(index, self.size if size is None else size, self.node)

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `new_size` entries (default: all) extends that of `old_size`."""
        return consistency_proof(old_size, self.size if new_size is None else new_size, self.node)
