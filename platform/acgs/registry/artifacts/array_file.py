"""Checks of NumPy's array file: numbers only, as many bytes as the shape says."""

from __future__ import annotations

import math
import os
from typing import BinaryIO, Final

from acgs.registry.artifacts.refusal import FormatError

_MAX_HEADER_BYTES: Final = 10_000
_KINDS: Final = "biufcSUmMV"
"""Booleans, integers, floats, complex, texts of fixed length, times, and structures of these (the nodes of trees)."""


def check_npy(handle: BinaryIO) -> None:
    """An array of plain values, without objects (which are pickled) and with nothing behind it."""
    # NumPy takes its time to import, and a folder seldom holds such a file.
    from numpy.lib import format as npy

    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    try:
        version = npy.read_magic(handle)
        if version not in ((1, 0), (2, 0)):
            raise FormatError("its version of the array format is not known")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(handle, max_header_size=_MAX_HEADER_BYTES)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise FormatError("it is no NumPy array file, or its header is too long") from None
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise FormatError("its array holds Python objects, which are pickled")
    if any(length < 0 for length in shape) or handle.tell() + math.prod(shape) * dtype.itemsize != size:
        raise FormatError("its array does not have the bytes that its shape needs")
