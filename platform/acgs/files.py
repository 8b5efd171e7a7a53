"""Durable file writes: all or nothing, on disk before the name appears."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Flush a directory entry, so that a rename in it survives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path` through a temporary file, fsync and rename; readers see the old or the new file.

    Raises:
        OSError: it cannot be written, or is something else than a file: a device would be renamed away.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_once(path: Path, data: bytes, *, mode: int) -> None:
    """Write `data` to `path` unless another process was first, whose file then stands; on disk, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_atomic(draft, data, mode=mode)
    try:
        # A link, unlike a rename, fails if the name is taken.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
        sync_directory(path.parent)
