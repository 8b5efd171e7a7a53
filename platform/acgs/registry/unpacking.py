"""Unpacks a tar that somebody sent into a folder: plain files alone, each within it, whatever the headers claim.

Nothing is compressed, so that what comes out is no larger than what was sent. What the files hold is looked at when
they are put (`acgs.registry.artifacts`).
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO, Final

from acgs.errors import InvalidInputError
from acgs.registry.artifacts.paths import path_fault
from acgs.registry.artifacts.refusal import RefusedFileError
from acgs.registry.artifacts.source import MAX_FILES

MAX_MEMBERS: Final = 4 * MAX_FILES
"""Folders count, too."""
_COPY_BYTES: Final = 64 * 1024
_LEAST_TRAILER: Final = 2 * tarfile.BLOCKSIZE
_LONGEST_HEADER: Final = 1024 * 1024


class _Headers:
    """The archive for `tarfile`, which would read a header of any length into memory."""

    def __init__(self, archive: BinaryIO) -> None:
        self._archive = archive
        self.seek, self.tell, self.close = archive.seek, archive.tell, archive.close

    def read(self, size: int = -1) -> bytes:
        """Read a block, or a part of a file."""
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError("a header is too long")
        return self._archive.read(size)


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of a tar into an empty folder.

    Raises:
        RefusedFileError: a member is a link, a device or a sparse file, has a name that no artifact may have, or one
            that another has.
        InvalidInputError: it is no tar, is cut off or damaged, or has too many members.
    """
    try:
        with archive.open("rb") as handle, tarfile.open(fileobj=_Headers(handle), mode="r:") as tar:  # type: ignore[call-overload]
            for number, member in enumerate(tar, 1):
                if number > MAX_MEMBERS:
                    raise InvalidInputError(f"the archive has more than {MAX_MEMBERS} members", field="artifact")
                _write(tar, member, folder)
            _check_end(handle, tar.offset)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(
            "the body is no tar, or is cut off or damaged; send a plain tar, not a compressed one", field="artifact"
        ) from error


def _check_end(archive: BinaryIO, end: int) -> None:
    """`tarfile` takes a bad, short or missing header for the end, and what follows would be silently left out.

    A whole tar ends with two blocks of zeros after its last member, and more where it is padded.

    Raises:
        ReadError: it does not.
    """
    archive.seek(end)
    length = 0
    while block := archive.read(_COPY_BYTES):
        if block.count(0) < len(block):
            raise tarfile.ReadError("damaged")
        length += len(block)
    if length < _LEAST_TRAILER:
        raise tarfile.ReadError("cut off")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = member.name.removeprefix("./").removesuffix("/")
    if member.isdir() and path in ("", "."):
        return
    if fault := path_fault(path):
        raise RefusedFileError(path, fault)
    if not (member.isreg() or member.isdir()) or member.sparse is not None:
        raise RefusedFileError(path, "is a link, a device or a sparse file; only plain files are taken")
    place = folder / path
    try:
        (place if member.isdir() else place.parent).mkdir(parents=True, exist_ok=True)
        if member.isdir():
            return
        content = tar.extractfile(member)
        assert content is not None  # a plain file has content
        with content, place.open("xb") as written:
            shutil.copyfileobj(content, written, _COPY_BYTES)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise RefusedFileError(path, "is in the archive twice") from error
    if place.stat().st_size != member.size:
        raise tarfile.ReadError("cut off")
