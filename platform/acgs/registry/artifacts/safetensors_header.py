"""The header of a safetensors file: 8 bytes of length (little-endian), JSON, then the tensors without a gap."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from acgs.registry.artifacts.refusal import FormatError

MAX_HEADER_BYTES: Final = 32 << 20
LENGTH_BYTES: Final = 8
_METADATA: Final = "__metadata__"
_BITS: Final = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


@dataclass(frozen=True, slots=True)
class Header:
    """Where things are in the file: the tensors begin at `start`; `ends` are their ends, rising, from there."""

    start: int
    ends: tuple[int, ...]


def read_header(handle: BinaryIO) -> Header:
    """Read and check the header; the file's position is then undefined.

    Raises:
        FormatError: the header is too long or no JSON, or its tensors overlap, leave gaps or do not fill the file.
    """
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    length = int.from_bytes(handle.read(LENGTH_BYTES), "little")
    if size < LENGTH_BYTES or length > size - LENGTH_BYTES:
        raise FormatError("its header is longer than the file")
    if length > MAX_HEADER_BYTES:
        raise FormatError(f"its header has {length} bytes; {MAX_HEADER_BYTES} are allowed")
    tensors = _tensors(handle.read(length))
    end = 0
    for begin, stop in tensors:
        if begin != end:
            raise FormatError("its tensors overlap or leave a gap")
        end = stop
    if LENGTH_BYTES + length + end != size:
        raise FormatError("its tensors do not end where the file ends")
    return Header(LENGTH_BYTES + length, tuple(stop for _, stop in tensors))


def _tensors(raw: bytes) -> list[tuple[int, int]]:
    if not raw.startswith(b"{"):
        raise FormatError("its header is no JSON object")
    try:
        header = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise FormatError("its header is no JSON object") from None
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("its header's metadata are not texts")
    return sorted(_span(name, tensor) for name, tensor in header.items())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _span(name: str, tensor: Any) -> tuple[int, int]:
    shown = name[:64]
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"its tensor {shown!r} is not described by dtype, shape and data_offsets")
    bits, shape, offsets = _BITS.get(str(tensor["dtype"])), tensor["shape"], tensor["data_offsets"]
    if bits is None:
        raise FormatError(f"its tensor {shown!r} has an unknown dtype")
    if not (_are_counts(shape) and len(shape) <= 64 and _are_counts(offsets) and len(offsets) == 2):
        raise FormatError(f"its tensor {shown!r} has a shape or offsets that are no counts")
    begin, end = offsets
    if (end - begin) * 8 != math.prod(shape) * bits:
        raise FormatError(f"its tensor {shown!r} does not have the bytes that its shape needs")
    return begin, end


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)
