"""Documents on disk, read one at a time: JSON lines with an offset for each."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from acgs.retrieval.corpus import Document


class DocumentFile:
    """Documents by number, memory-mapped."""

    def __init__(self, path: Path, starts: NDArray[np.int64]) -> None:
        with path.open("rb") as handle:
            self._bytes = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> Document:
        row = orjson.loads(self._bytes[int(self._starts[number]) : int(self._starts[number + 1])])
        return Document(row["_id"], row["title"], row["text"])


def pack(documents: Sequence[Document]) -> tuple[bytes, NDArray[np.int64]]:
    """The file's bytes and the offsets, shape (documents + 1,)."""
    lines = [orjson.dumps({"_id": item.id, "title": item.title, "text": item.text}) + b"\n" for item in documents]
    return b"".join(lines), np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int64)
