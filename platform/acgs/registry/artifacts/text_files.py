"""Checks of text files: UTF-8 without control characters, and where the name says so, JSON or a LightGBM model."""

from __future__ import annotations

import codecs
import json
import os
from typing import Any, BinaryIO, Final

from acgs.registry.artifacts.disguise import is_text_pickle
from acgs.registry.artifacts.lightgbm_text import START, check_booster
from acgs.registry.artifacts.refusal import FormatError

MAX_JSON_BYTES: Final = 64 << 20
"""A document is parsed as a whole; the largest tokenizers have about 35 MB."""
MAX_LINE_BYTES: Final = 16 << 20
_BLOCK: Final = 1 << 20
_TEXT_PICKLE_BYTES: Final = 1 << 20
_CONTROLS: Final = frozenset(map(chr, range(32))) - set("\t\n\r\f") | {"\x7f"}
_CONTROL_TABLE: Final = str.maketrans(dict.fromkeys(_CONTROLS))
_YAML_OBJECT: Final = b"!!python/"


def check_text(handle: BinaryIO) -> None:
    """UTF-8 text. One that begins like a LightGBM model must be a whole one."""
    handle.seek(0)
    head = handle.read(_TEXT_PICKLE_BYTES)
    if len(head) < _TEXT_PICKLE_BYTES and is_text_pickle(head):
        raise FormatError("its text is a pickle")
    _check_characters(handle)
    if head.startswith(START):
        check_lightgbm(handle)


def check_yaml(handle: BinaryIO) -> None:
    """UTF-8 text that asks no reader to build Python objects. It is not parsed."""
    check_text(handle)
    handle.seek(0)
    last = b""
    while block := handle.read(_BLOCK):
        if _YAML_OBJECT in last + block:
            raise FormatError(f"it asks for Python objects ({_YAML_OBJECT.decode()})")
        last = block[-len(_YAML_OBJECT) :]


def check_json(handle: BinaryIO) -> None:
    """One JSON document (RFC 8259: no NaN), each name once in an object."""
    size = handle.seek(0, os.SEEK_END)
    if size > MAX_JSON_BYTES:
        raise FormatError(f"it has {size} bytes of JSON; {MAX_JSON_BYTES} are allowed")
    handle.seek(0)
    _parse(handle.read(), "it is not one JSON document")


def check_json_lines(handle: BinaryIO) -> None:
    """JSON documents, one a line."""
    handle.seek(0)
    number = 0
    while line := handle.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise FormatError(f"its line {number} has more than {MAX_LINE_BYTES} bytes")
        if line.strip():
            _parse(line, f"its line {number} is not a JSON document")


def check_lightgbm(handle: BinaryIO) -> None:
    """A LightGBM model in text that the library can load without harm."""
    _check_characters(handle)
    check_booster(handle)


def json_value(data: bytes) -> Any:
    """The value of a JSON document. Raises `ValueError` if it is none."""
    return json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse_constant)


def _parse(data: bytes, fault: str) -> None:
    try:
        json_value(data)
    except (ValueError, RecursionError):
        raise FormatError(fault) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _check_characters(handle: BinaryIO) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    handle.seek(0)
    while True:
        block = handle.read(_BLOCK)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            raise FormatError("it is not text (UTF-8)") from None
        if len(text.translate(_CONTROL_TABLE)) != len(text):
            raise FormatError("it has control characters, so it is not text")
        if not block:
            return
