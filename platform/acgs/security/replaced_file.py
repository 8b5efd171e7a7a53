"""A file that others replace while we run: what it says counts from the next look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Parsed = TypeVar("Parsed")


class ReplacedFile(Generic[Parsed]):
    """Reads the bytes at every look, and parses them only where they changed; times of files are too coarse for that.

    For small files.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], Parsed]) -> None:
        self._path = path
        self._parse = parse
        self._last: tuple[bytes, Parsed] | None = None

    def look(self) -> Parsed:
        """What the file says now.

        Raises:
            OSError: it cannot be read.
            AcgsError: what `parse` raises.
        """
        data = self._path.read_bytes()
        last = self._last
        if last is None or last[0] != data:
            last = self._last = (data, self._parse(data))
        return last[1]
