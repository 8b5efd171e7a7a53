"""What a refused file really is, so that the refusal can say it. No decision rests on this."""

from __future__ import annotations

import pickletools
from typing import BinaryIO, Final

_MAX_TEXT_PICKLE: Final = 1 << 20
_BEGINNINGS: Final = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"#!", "a script"),
)
_RUNNING: Final = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"})


def true_kind(handle: BinaryIO) -> str | None:
    """The kind of a file in words; None where it is not one of those that hide something."""
    handle.seek(0)
    head = handle.read(1 << 16)
    if is_binary_pickle(head):
        return "a pickle"
    kind = next((kind for start, kind in _BEGINNINGS if head.startswith(start)), None)
    if kind == "a zip archive" and b"data.pkl" in head:
        return "a zip archive with a pickle in it (as torch.save writes)"
    if kind is None and head[257:262] == b"ustar":
        return "a tar archive"
    if kind is None and is_text_pickle(head):
        return "a pickle"
    return kind


def is_binary_pickle(head: bytes) -> bool:
    """Whether a file that begins so is a pickle of protocol 2 to 5."""
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def is_text_pickle(data: bytes) -> bool:
    """Whether text is, from end to end, a pickle (protocol 0 or 1) that names or builds an object."""
    if len(data) > _MAX_TEXT_PICKLE:
        return False
    found: set[str] = set()
    try:
        for opcode, _argument, _position in pickletools.genops(data):
            found.add(opcode.name)
    except Exception:  # noqa: BLE001  genops raises whatever the arguments of a wrong opcode lead to
        return False
    return bool(found & _RUNNING)
