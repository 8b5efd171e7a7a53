"""Files that hold private keys: for their owner alone, made once."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from acgs.errors import IntegrityError, UnavailableError

MODE: Final = 0o600
_MAX_BYTES: Final = 1 << 20


def read_private(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        UnavailableError: it cannot be read.
        IntegrityError: others than its owner may use it.
    """
    try:
        with path.open("rb") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            data = handle.read(_MAX_BYTES)
    except OSError as error:
        raise UnavailableError(
            f"the key file {path.name} cannot be read; restore it, or correct the setting that names it", field="key"
        ) from error
    if mode & 0o077:
        raise IntegrityError(
            f"the key file {path.name} is open to others (mode {mode:04o}); replace the key if it may have been "
            "copied, and run chmod 600 on it",
            field="key",
        )
    return data


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """One process at a time that reads the file, thinks and writes it again: a key must not be lost in between."""
    with _locked(path, fcntl.LOCK_EX):
        yield


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Any number of users of the file, and nobody who writes it, within this host.

    Raises:
        UnavailableError: it cannot be locked.
    """
    with ExitStack() as held:
        try:
            held.enter_context(_locked(path, fcntl.LOCK_SH))
        except OSError as error:
            # In a folder that cannot be written, nobody writes the file either.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise UnavailableError(
                    f"the key file {path.name} cannot be locked ({error.strerror}); keep it on a disk of this host",
                    field="key",
                ) from error
        yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
