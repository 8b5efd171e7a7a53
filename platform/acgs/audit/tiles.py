"""Tiles and entry bundles as in C2SP tlog-tiles: the tree's hashes and the entries in files of 256.

A tile at level L holds the roots of subtrees of 256**L leaves. A full tile never changes; the last one of a level is
partial and has its width in its name, so that a file, once a state of the log that needs it is committed, never
changes either. Files left over by a crashed writer may hold other data behind the committed width; a writer removes
them before it writes, and a reader takes only the part that the state it reads vouches for.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from acgs.audit.merkle import HASH_BYTES, perfect_root
from acgs.errors import IntegrityError
from acgs.files import write_atomic

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
ENTRIES = "entries"
TILE_DIRECTORY = "tile"
CACHED_TILES = 512
_LENGTH = struct.Struct(">H")

Level = int | str


def tile_path(level: Level, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile, or of an entry bundle at level `ENTRIES`: `tile/0/x001/x234/067.p/12`."""
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"{TILE_DIRECTORY}/{level}/{name}" + ("" if width == TILE_WIDTH else f".p/{width}")


def tile_width(count: int, index: int) -> int:
    """Return how many of a level's `count` items stand in its tile `index`."""
    return max(0, min(TILE_WIDTH, count - index * TILE_WIDTH))


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries each led by its length in 16 bits, big-endian."""
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Return the first `width` entries of a bundle. Raises `IntegrityError` if it holds fewer."""
    entries: list[bytes] = []
    start = 0
    while len(entries) < width:
        body = start + _LENGTH.size
        if len(data) < body:
            raise IntegrityError(f"an entry bundle ends after {len(entries)} of {width} entries; restore the log")
        end = body + _LENGTH.unpack_from(data, start)[0]
        if len(data) < end:
            raise IntegrityError(f"an entry bundle ends in entry {len(entries)} of {width}; restore the log")
        entries.append(data[body:end])
        start = end
    return entries


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """Return the first `width` hashes of a tile. Raises `IntegrityError` if it holds fewer."""
    if len(data) < width * HASH_BYTES:
        raise IntegrityError(f"a tile holds {len(data)} bytes instead of {width} hashes; restore the log")
    return [data[i : i + HASH_BYTES] for i in range(0, width * HASH_BYTES, HASH_BYTES)]


class TileStore:
    """The tile files under a log's directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._full_tile = lru_cache(maxsize=CACHED_TILES)(self._read_full_tile)

    def hashes(self, level: int, index: int, width: int) -> list[bytes]:
        """Return the first `width` hashes of a tile. Raises `IntegrityError` if they are not there."""
        if width == TILE_WIDTH:
            return self._full_tile(level, index)
        return split_hashes(self._read(level, index, width), width)

    def entries(self, index: int, width: int) -> list[bytes]:
        """Return the first `width` entries of a bundle. Raises `IntegrityError` if they are not there."""
        return decode_bundle(self._read(ENTRIES, index, width), width)

    def write(self, level: Level, index: int, width: int, data: bytes, *, committed: int) -> None:
        """Store a tile whose first `committed` items belong to a committed log already.

        Whatever else a crashed writer left for this tile goes first, so that a reader never falls back on it.
        """
        self.keep_only(level, index, committed)
        write_atomic(self._directory / tile_path(level, index, width), data)

    def keep_only(self, level: Level, index: int, width: int) -> None:
        """Remove the files of a tile other than that of `width`; 0 keeps none."""
        full = self._directory / tile_path(level, index)
        partials = full.with_name(full.name + ".p")
        if width == TILE_WIDTH:
            shutil.rmtree(partials, ignore_errors=True)
            return
        full.unlink(missing_ok=True)
        if partials.is_dir():
            for partial in partials.iterdir():
                if partial.name != str(width):
                    partial.unlink(missing_ok=True)

    def _read_full_tile(self, level: int, index: int) -> list[bytes]:
        return split_hashes(self._read(level, index, TILE_WIDTH), TILE_WIDTH)

    def _read(self, level: Level, index: int, width: int) -> bytes:
        for candidate in self._candidates(level, index, width):
            try:
                return candidate.read_bytes()
            except FileNotFoundError:
                continue
        raise IntegrityError(f"{tile_path(level, index, width)} is missing from the audit log; restore it from a copy")

    def _candidates(self, level: Level, index: int, width: int) -> list[Path]:
        """Return the files that may hold the tile: its own, the full one, then wider ones of a log that moved on."""
        exact = self._directory / tile_path(level, index, width)
        if width == TILE_WIDTH:
            return [exact]
        wider = sorted(
            (path for path in exact.parent.glob("*") if path.name.isdigit() and int(path.name) > width),
            key=lambda path: int(path.name),
        )
        return [exact, self._directory / tile_path(level, index), *wider]


def stored_node(store: TileStore, size: int, level: int, index: int) -> bytes:
    """Return the hash of a perfect subtree of the stored tree of `size` leaves."""
    tile_level, height = divmod(level, TILE_HEIGHT)
    first = index << height
    tile, offset = divmod(first, TILE_WIDTH)
    stored: Sequence[bytes] = store.hashes(tile_level, tile, tile_width(size >> (TILE_HEIGHT * tile_level), tile))
    hashes = stored[offset : offset + (1 << height)]
    if len(hashes) != 1 << height:
        raise IntegrityError(f"the log of {size} entries has no whole subtree {index} at level {level}")
    return perfect_root(hashes)
