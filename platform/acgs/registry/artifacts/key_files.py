"""Files that hold private keys: for their owner alone, made once."""

from __future__ import annotations

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
    """One process at a time that reads the file, thinks and writes it again: a key must not be lost in between.

    Raises:
        UnavailableError: its folder cannot be locked.
    """
    with _locked(path.parent, fcntl.LOCK_EX):
        yield


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Any number of users of the file, and nobody who writes it, within this host.

    Raises:
        UnavailableError: its folder cannot be locked.
    """
    with _locked(path.parent, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    # The folder, which whoever reads the key can open: a lock file may be another user's, and the key file is replaced.
    with ExitStack() as held:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, how)
        except OSError as error:
            raise UnavailableError(
                f"the folder {folder.name} of the key file cannot be locked ({error.strerror}); keep it on a disk of "
                "this host",
                field="key",
            ) from error
        yield
