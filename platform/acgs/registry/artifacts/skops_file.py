"""Checks of skops' file: a zip of `schema.json` and array files, looked into without unpacking it to disk.

Which types the schema may build is the loader's question (`trusted_types`); this one is about what the file may hold.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from acgs.registry.artifacts.array_file import check_npy
from acgs.registry.artifacts.paths import path_fault
from acgs.registry.artifacts.refusal import FormatError
from acgs.registry.artifacts.text_files import MAX_JSON_BYTES, json_value

SCHEMA: Final = "schema.json"
MAX_MEMBERS: Final = 10_000
MAX_MEMBER_BYTES: Final = 256 << 20
MAX_UNPACKED_BYTES: Final = 2 << 30
MAX_RATIO: Final = 200
"""Plain bytes for one packed. Sparse arrays of real models come near 100, a bomb lies beyond 1000."""
_RATIO_FROM_BYTES: Final = 1 << 20
_START: Final = b"PK\x03\x04"
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_skops(handle: BinaryIO) -> None:
    """A skops file: its schema is JSON, all else are arrays of numbers."""
    with _opened(handle) as archive:
        members = _members(archive)
        if SCHEMA not in members:
            raise FormatError(f"it has no {SCHEMA}")
        for name, member in members.items():
            _CHECKS[_kind(name)](archive, member)


def _opened(handle: BinaryIO) -> zipfile.ZipFile:
    handle.seek(0)
    # A zip is found from its end: what stands before it would be another file in the same bytes.
    if handle.read(len(_START)) != _START:
        raise FormatError("it does not begin as a zip archive")
    try:
        return zipfile.ZipFile(handle)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise FormatError("it is no zip archive") from None


def _members(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    if len(listed) > MAX_MEMBERS:
        raise FormatError(f"it has {len(listed)} members; {MAX_MEMBERS} are allowed")
    if sum(member.file_size for member in listed) > MAX_UNPACKED_BYTES:
        raise FormatError(f"it would unpack to more than {MAX_UNPACKED_BYTES} bytes")
    if len({member.filename for member in listed}) != len(listed):
        raise FormatError("it has two members of one name")
    for member in listed:
        if fault := _member_fault(member):
            raise FormatError(f"its member {member.filename[:80]!r} {fault}")
    return {member.filename: member for member in listed}


def _member_fault(member: zipfile.ZipInfo) -> str | None:
    mode = member.external_attr >> 16
    # The name as it stands in the file: zipfile cuts it at a zero byte.
    if fault := path_fault(member.orig_filename):
        return fault
    if member.is_dir() or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
        return "is a link, a folder or a device"
    if member.flag_bits & 0x1 or member.compress_type not in _METHODS:
        return "is encrypted or packed in an unusual way"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"would unpack to more than {MAX_MEMBER_BYTES} bytes"
    if member.file_size > _RATIO_FROM_BYTES and member.file_size > MAX_RATIO * max(1, member.compress_size):
        return f"would unpack to more than {MAX_RATIO} times its size"
    return None


def _kind(name: str) -> str:
    kind = SCHEMA if name == SCHEMA else PurePosixPath(name).suffix
    if kind not in _CHECKS:
        raise FormatError(f"its member {name[:80]!r} is neither {SCHEMA} nor an array")
    return kind


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    try:
        with archive.open(member) as stream:
            # Declared sizes may lie; what is read is bounded by them.
            data = stream.read(min(member.file_size, limit) + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError):
        raise FormatError(f"its member {member.filename[:80]!r} is damaged") from None
    if len(data) != member.file_size:
        raise FormatError(f"its member {member.filename[:80]!r} does not have the size that it declares")
    return data


def _check_schema(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    try:
        schema = json_value(_unpacked(archive, member, MAX_JSON_BYTES))
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise FormatError(f"its {SCHEMA} is no JSON object")


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    _check_nested(member, check_npy, _unpacked(archive, member, MAX_MEMBER_BYTES))


def _check_sparse(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """A sparse matrix as SciPy writes it: a zip of arrays."""
    with _opened(io.BytesIO(_unpacked(archive, member, MAX_MEMBER_BYTES))) as inner:
        for name, part in _members(inner).items():
            if PurePosixPath(name).suffix != ".npy":
                raise FormatError(f"its member {member.filename[:80]!r} holds something else than arrays")
            _check_array(inner, part)


def _check_nested(member: zipfile.ZipInfo, check: Callable[[BinaryIO], None], data: bytes) -> None:
    try:
        check(io.BytesIO(data))
    except FormatError as error:
        raise FormatError(f"its member {member.filename[:80]!r} is refused: {error.message}") from None


_CHECKS: Final[Mapping[str, Callable[[zipfile.ZipFile, zipfile.ZipInfo], None]]] = {
    SCHEMA: _check_schema,
    ".npy": _check_array,
    ".npz": _check_sparse,
}
