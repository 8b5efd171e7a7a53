"""Lines of files as a Ray Data source that keeps them as they are, byte for byte, and holds a few at a time.

Ray's own readers of JSON infer one Arrow schema for all rows, which drops and retypes the free parts of a record, and
its reader of text takes a whole file into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

RANGE_BYTES: Final = 8 << 20
"""Of a file that one task reads."""
BLOCK_BYTES: Final = 1 << 20
"""After which a task hands on what it has read."""


class LineSource(Datasource):
    """Rows of `file` (its name), `offset` (of the line's first byte) and `line` (its bytes), in the files' order.

    Every node must see the files under the same paths.
    """

    def __init__(self, files: Sequence[Path], *, range_bytes: int = RANGE_BYTES) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ranges = [
            (path, start, min(start + range_bytes, size))
            for path in files
            for size in (path.stat().st_size,)
            for start in range(0, size, range_bytes)
        ]

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all lines."""
        return sum(end - start for _, start, end in self._ranges)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One task for each range, whatever parallelism is asked for, so that memory is bounded."""
        return [
            ReadTask(
                partial(_blocks, path, start, end),
                BlockMetadata(num_rows=None, size_bytes=end - start, exec_stats=None, input_files=(str(path),)),
                schema=_SCHEMA,
                per_task_row_limit=per_task_row_limit,
            )
            for path, start, end in self._ranges
        ]


_SCHEMA: Final = pa.schema([("file", pa.string()), ("offset", pa.int64()), ("line", pa.binary())])


def lines_between(path: Path, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in [start, end), each with the place of its first byte."""
    with path.open("rb") as handle:
        if start:
            # The rest of a line that began before; nothing, if one begins here.
            handle.seek(start - 1)
            handle.readline()
        place = handle.tell()
        while place < end and (line := handle.readline()):
            yield place, line
            place += len(line)


def _blocks(path: Path, start: int, end: int) -> Iterable[pa.Table]:
    found: list[tuple[int, bytes]] = []
    size = 0
    for place, line in lines_between(path, start, end):
        found.append((place, line))
        size += len(line)
        if size >= BLOCK_BYTES:
            yield _table(path.name, found)
            found, size = [], 0
    if found:
        yield _table(path.name, found)


def _table(name: str, lines: Sequence[tuple[int, bytes]]) -> pa.Table:
    offsets, texts = zip(*lines, strict=True)
    return pa.table({"file": [name] * len(lines), "offset": offsets, "line": texts}, schema=_SCHEMA)
