"""Checks of the two formats that are Protocol Buffers: ONNX models and SentencePiece tokenizers.

The wire format is walked without the schema's library: which fields there are, and that they fill the file. Of an ONNX
model also every tensor is visited, in whatever graph or attribute it lies: one whose data are in another file names
that file by a path, which may point anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from acgs.registry.artifacts.refusal import FormatError

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
MAX_DEPTH: Final = 32
MAX_FIELDS: Final = 5_000_000
_EXTERNAL: Final = 1
"""TensorProto.DataLocation.EXTERNAL."""

_TENSOR_EXTERNAL_DATA: Final = 13
_TENSOR_DATA_LOCATION: Final = 14
# Message -> field -> message, for those that lead to a tensor (onnx.proto3, version 1.19).
_LEADS: Final[Mapping[str, Mapping[int, str]]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_MODEL_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_SENTENCEPIECE_FIELDS: Final = frozenset({1, 2, 3, 4, 5})
_IR_VERSION, _GRAPH, _PIECES, _TRAINER = 1, 7, 1, 2


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    kind: int
    value: int
    """Of a number, itself; of bytes, where they begin."""
    end: int


def check_onnx(handle: BinaryIO) -> None:
    """An ONNX model with all its tensors inside."""
    size = handle.seek(0, os.SEEK_END)
    walk = _Walk(handle)
    top = {field.number for field in walk.fields(0, size)}
    if not {_IR_VERSION, _GRAPH} <= top <= _MODEL_FIELDS:
        raise FormatError("it is no ONNX model")
    walk.visit("Model", 0, size, 0)


def check_sentencepiece(handle: BinaryIO) -> None:
    """A SentencePiece tokenizer."""
    size = handle.seek(0, os.SEEK_END)
    fields = list(_Walk(handle).fields(0, size))
    numbers = {field.number for field in fields}
    if not {_PIECES, _TRAINER} <= numbers <= _SENTENCEPIECE_FIELDS or any(field.kind != _BYTES for field in fields):
        raise FormatError("it is no SentencePiece model")


class _Walk:
    """A walk over the fields of a file, with a bound on how many it looks at."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._left = MAX_FIELDS

    def visit(self, message: str, begin: int, end: int, depth: int) -> None:
        """Look at every tensor in a message. Raises `FormatError` if one lies in another file."""
        if depth > MAX_DEPTH:
            raise FormatError("its graphs lie too deep in each other")
        for field in self.fields(begin, end):
            if message == "Tensor" and (
                field.number == _TENSOR_EXTERNAL_DATA
                or (field.number == _TENSOR_DATA_LOCATION and field.value == _EXTERNAL)
            ):
                raise FormatError("a tensor of it lies in another file; save the model with its data inside")
            inner = _LEADS[message].get(field.number)
            if inner is not None and field.kind == _BYTES:
                self.visit(inner, field.value, field.end, depth + 1)

    def fields(self, begin: int, end: int) -> Iterator[_Field]:
        """The fields of the message between two places of the file."""
        place = begin
        while place < end:
            self._left -= 1
            if self._left < 0:
                raise FormatError(f"it has more than {MAX_FIELDS} fields")
            tag, place = self._varint(place, end)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, after = self._varint(place, end)
            elif kind == _BYTES:
                length, value = self._varint(place, end)
                after = value + length
            elif kind in (_FIXED32, _FIXED64):
                value, after = place, place + (4 if kind == _FIXED32 else 8)
            else:
                raise FormatError("it is no protocol buffer")
            if number == 0 or after > end:
                raise FormatError("it is no protocol buffer, or is cut off")
            yield _Field(number, kind, value, after)
            place = after

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        self._handle.seek(place)
        value = 0
        for index, byte in enumerate(self._handle.read(min(10, end - place))):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, place + index + 1
        raise FormatError("it is no protocol buffer, or is cut off")
