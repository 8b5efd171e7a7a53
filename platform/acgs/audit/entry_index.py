"""Where in the log an entry stands: by leaf hash, and by receipt or event identifier.

Derived from the log and rebuilt from it: deleting the file loses nothing. It is never ahead of the committed log.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from acgs.audit.entries import entry_id
from acgs.audit.log import AuditLog
from acgs.audit.merkle import leaf_hash
from acgs.errors import IntegrityError

INDEX_FILE = "index.sqlite"
INDEXED_AT_ONCE = 4096
_SCHEMA = """
CREATE TABLE IF NOT EXISTS leaves (leaf BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 0), size INTEGER, root TEXT);
"""


class EntryIndex:
    """The index of one log."""

    def __init__(self, directory: Path) -> None:
        """Open the index in a log's directory. Raises `IntegrityError` if the file is no usable index."""
        self._database = sqlite3.connect(directory / INDEX_FILE)
        try:
            self._database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise IntegrityError(f"the log's index is damaged; delete {INDEX_FILE}, it will be rebuilt") from error

    def catch_up(self, log: AuditLog) -> None:
        """Index the entries that the log gained; start over if the index belongs to another tree."""
        size = self.covered(log)
        if size == 0:
            with self._database:
                self._database.execute("DELETE FROM leaves")
                self._database.execute("DELETE FROM names")
        while size < log.size:
            end = min(size + INDEXED_AT_ONCE, log.size)
            self._add(log, size, end)
            size = end

    def covered(self, log: AuditLog) -> int:
        """Return how many of the log's entries are indexed; 0 if the index belongs to another tree."""
        size, root = self._progress()
        return size if size <= log.size and log.root_at(size).hex() == root else 0

    def by_leaf(self, leaf: bytes) -> int | None:
        """Return the position of the entry with this leaf hash, or None."""
        return self._position("SELECT position FROM leaves WHERE leaf = ?", leaf)

    def by_name(self, name: str) -> int | None:
        """Return the position of the first entry with this receipt or event identifier, or None."""
        return self._position("SELECT position FROM names WHERE name = ?", name)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _progress(self) -> tuple[int, str]:
        row = self._database.execute("SELECT size, root FROM progress").fetchone()
        return (int(row[0]), str(row[1])) if row else (0, "")

    def _position(self, query: str, key: bytes | str) -> int | None:
        row = self._database.execute(query, (key,)).fetchone()
        return int(row[0]) if row else None

    def _add(self, log: AuditLog, start: int, end: int) -> None:
        entries = list(enumerate(log.entries(start, end), start))
        leaves = [(leaf_hash(entry), position) for position, entry in entries]
        names = [(name, position) for position, entry in entries if (name := entry_id(entry)) is not None]
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO leaves VALUES (?, ?)", leaves)
            self._database.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", names)
            self._database.execute("INSERT OR REPLACE INTO progress VALUES (0, ?, ?)", (end, log.root_at(end).hex()))


def find_entry(log: AuditLog, name: str) -> int | None:
    """Return the position of the entry with this identifier or hex leaf hash, or None.

    Uses the index where there is one and reads what it does not cover, writing nothing.
    """
    covered = 0
    if (log.directory / INDEX_FILE).exists():
        with EntryIndex(log.directory) as index:
            position = index.by_name(name)
            if position is None and _is_leaf(name):
                position = index.by_leaf(bytes.fromhex(name))
            if position is not None and position < log.size and _answers(log.entry(position), name):
                return position
            covered = index.covered(log)
    found = (p for p, entry in enumerate(log.entries(covered), covered) if _answers(entry, name))
    return next(found, None)


def _answers(entry: bytes, name: str) -> bool:
    return entry_id(entry) == name or leaf_hash(entry).hex() == name


def _is_leaf(name: str) -> bool:
    return len(name) == 64 and all(digit in "0123456789abcdef" for digit in name)
