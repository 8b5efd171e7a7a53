"""The files of a folder, or a single file, that are to be put: found without following a link, read unchanged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from acgs.errors import InvalidInputError
from acgs.registry.artifacts.paths import is_ignored, path_fault, sort_key
from acgs.registry.artifacts.refusal import ChangedFileError, RefusedFileError

MAX_FILES: Final = 4096


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to be put; `path` is its name in the artifact, `size` in bytes."""

    path: str
    place: Path
    size: int


def source_files(source: Path) -> list[SourceFile]:
    """Every file of a folder but git's and the signature; or the one file, under its own name.

    Raises:
        RefusedFileError: one is a link or a device, or has a name that no artifact may have.
        InvalidInputError: there is no such folder, no file in it, or too many.
    """
    found = []
    for path, place in _walk(source):
        if is_ignored(path):
            continue
        if fault := path_fault(path):
            raise RefusedFileError(path, fault)
        status = place.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise RefusedFileError(path, f"is {_kind(status.st_mode)}; only plain files are taken")
        found.append(SourceFile(path, place, status.st_size))
        if len(found) > MAX_FILES:
            raise InvalidInputError(f"{source.name!r} has more than {MAX_FILES} files", field="artifact")
    if not found:
        raise InvalidInputError(f"{source.name!r} holds no file", field="artifact")
    return sorted(found, key=lambda file: sort_key(file.path))


@contextmanager
def opened(file: SourceFile) -> Iterator[BinaryIO]:
    """The file to read; at the end it is compared with what it was at the start.

    Raises:
        ChangedFileError: it was written to, replaced or removed since it was found.
        RefusedFileError: it became something else than a plain file, or may not be read.
    """
    try:
        descriptor = os.open(file.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ChangedFileError(file.path) from None
    except OSError as error:
        raise RefusedFileError(file.path, f"cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as handle:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise RefusedFileError(file.path, f"is {_kind(before.st_mode)}; only plain files are taken")
        if before.st_size != file.size:
            raise ChangedFileError(file.path)
        yield handle
        try:
            named = file.place.lstat()
        except FileNotFoundError:
            raise ChangedFileError(file.path) from None
        if not _trace(before) == _trace(os.fstat(descriptor)) == _trace(named):
            raise ChangedFileError(file.path)


def _walk(source: Path) -> Iterator[tuple[str, Path]]:
    """Names and places of all that is no folder. A link to a folder is none."""
    if not source.is_dir() or source.is_symlink():
        if not os.path.lexists(source):
            raise InvalidInputError(f"there is no {source.name!r}; check the path", field="artifact")
        yield source.name, source
        return

    def refuse(error: OSError) -> None:
        raise InvalidInputError(
            f"a folder of {source.name!r} cannot be read: {error.strerror}", field="artifact"
        ) from error

    for folder, folders, files in os.walk(source, onerror=refuse):
        inside = Path(folder).relative_to(source)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        # Not gone through: git's folder may be larger than the model.
        folders[:] = [name for name in folders if name not in links and not is_ignored((inside / name).as_posix())]
        for name in (*files, *links):
            # Joined by hand: a path object would tidy the name before it is looked at.
            yield name if inside == Path() else f"{inside.as_posix()}/{name}", Path(folder) / name


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _trace(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
