"""Framing of journal records, so that a torn tail can be told from damage.

A file starts with `FILE_MAGIC`. A record is a 16-byte header (magic, payload length, CRC-32 of the payload, CRC-32 of
those twelve bytes; big-endian) and the payload. A process that dies in a write, or a disk that loses the last pages,
leaves a record that ends too early or only zeros: a torn tail. A whole header or payload whose CRC does not fit is
damage, wherever it stands.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

FILE_MAGIC = b"ACGSWAL1"
FIRST_RECORD = len(FILE_MAGIC)
_RECORD_MAGIC = b"acg1"
_HEADER = struct.Struct(">4sII")
_HEADER_CRC = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _HEADER_CRC.size


@dataclass(frozen=True, slots=True)
class Record:
    """A payload and the offset just behind its frame, relative to the bytes it was read from."""

    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of a file holds: whole records, where they end, and the offset of damage, if any."""

    records: tuple[Record, ...]
    end: int
    damaged_at: int | None


def frame(payload: bytes) -> bytes:
    """Return the record that holds `payload`."""
    header = _HEADER.pack(_RECORD_MAGIC, len(payload), crc32(payload))
    return header + _HEADER_CRC.pack(crc32(header)) + payload


def frame_all(payloads: Iterable[bytes]) -> tuple[bytes, list[int]]:
    """Return the records of several payloads as one block, and the offset in it behind each."""
    blocks = [frame(payload) for payload in payloads]
    ends: list[int] = []
    end = 0
    for block in blocks:
        end += len(block)
        ends.append(end)
    return b"".join(blocks), ends


def scan(data: bytes, *, limit: int) -> Scan:
    """Read up to `limit` whole records from the start of `data`; what follows them may be torn, or still to come."""
    records: list[Record] = []
    start = 0
    while len(records) < limit and start < len(data):
        outcome = _read(data, start)
        if outcome is None:
            break
        if isinstance(outcome, int):
            return Scan(tuple(records), start, outcome)
        records.append(outcome)
        start = outcome.end
    return Scan(tuple(records), start, None)


def _read(data: bytes, start: int) -> Record | int | None:
    """Return the record at `start`, the offset of damage, or None if the data end within it."""
    body = start + HEADER_BYTES
    header = data[start : start + _HEADER.size]
    if len(data) < body:
        return None
    magic, length, payload_crc = _HEADER.unpack(header)
    (header_crc,) = _HEADER_CRC.unpack_from(data, start + _HEADER.size)
    if magic != _RECORD_MAGIC or crc32(header) != header_crc:
        return None if _unwritten(data, body) else start
    payload = data[body : body + length]
    if len(payload) < length:
        return None
    if crc32(payload) != payload_crc:
        return None if _unwritten(data, body + length) else start
    return Record(payload, body + length)


def _unwritten(data: bytes, end: int) -> bool:
    """Say whether the last byte before `end` and all behind are zeros, as where a disk lost the last pages.

    An entry of the log is JSON and ends in another byte.
    """
    return not data[end - 1 :].strip(b"\x00")
