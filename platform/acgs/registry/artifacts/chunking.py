"""Where a file is cut into chunks, so that a new version of it shares as many as it can with the last.

A safetensors file is cut after its header, which changes with every training run, and at borders of tensors: a tensor
that was not trained keeps its chunk, also where the tensors before it grew. Small neighbours share a chunk, because
each chunk costs a flush or a request; large tensors are cut every 4 MiB.

Every other file is cut every 4 MiB. That finds what was appended to (JSON lines, trees of a boosted model) or replaced
in place (ONNX weights). Cuts chosen by content would also survive an insertion; the large formats that we take have
none that leaves the bytes behind it alone, and hashing each position costs more than all else in a transfer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from acgs.registry.artifacts.safetensors_header import read_header

MAX_CHUNK_BYTES: Final = 4 << 20
GROUP_BYTES: Final = 256 << 10
"""Tensors in a row share a chunk until it has this many bytes."""


def chunk_sizes(path: str, handle: BinaryIO) -> Iterator[int]:
    """Sizes of the chunks of a file that was checked, in order; the file's position is then undefined."""
    size = handle.seek(0, os.SEEK_END)
    borders = _tensor_borders(handle) if path.endswith(".safetensors") else []
    begin = 0
    for end in (*borders, size):
        yield from _pieces(end - begin)
        begin = end


def _tensor_borders(handle: BinaryIO) -> list[int]:
    header = read_header(handle)
    borders, last = [header.start], 0
    for end in header.ends:
        if end - last >= GROUP_BYTES:
            borders.append(header.start + end)
            last = end
    return borders


def _pieces(size: int) -> Iterator[int]:
    while size > 0:
        yield min(size, MAX_CHUNK_BYTES)
        size -= MAX_CHUNK_BYTES
