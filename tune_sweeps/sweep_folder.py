"""The folder of a sweep: which sweep it belongs to, and a JSON line for each trial that ended.

A line is on disk before the next trial is begun, so that a sweep that was killed knows what it need not do again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from acgs.errors import IntegrityError, InvalidInputError
from acgs.files import write_atomic

SWEEP: Final = "sweep.json"
TRIALS: Final = "trials.jsonl"
TUNE: Final = "tune"
"""Folder below the sweep's, for Ray Tune's own records."""

Row = TypeVar("Row", bound=BaseModel)


def settings_digest(*parts: str) -> str:
    """SHA-256 (hex) over everything that decides what the trials are."""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def sweep_name(output: Path, name: str, digest: str) -> str:
    """The name of the sweep in this folder, or a new one.

    Raises:
        InvalidInputError: the folder holds a sweep of other settings, or is none.
        IntegrityError: what it says of its sweep is damaged.
    """
    path = output / SWEEP
    if output.exists() and not output.is_dir():
        raise InvalidInputError(f"{output} is no folder; name another output", field="output")
    if not path.exists():
        return f"{name}-{secrets.token_hex(4)}"
    try:
        known = orjson.loads(path.read_bytes())
        found, claimed = str(known["sweep"]), known["config_digest"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged; name another output", field="output") from error
    if claimed != digest:
        raise InvalidInputError(f"{output} holds another sweep; name another output", field="output")
    return found


def claim(output: Path, name: str, digest: str) -> None:
    """Make the folder that of the sweep `name`."""
    write_atomic(output / SWEEP, orjson.dumps({"sweep": name, "config_digest": digest}))


class Journal(Generic[Row]):
    """The lines of trials, as models of one kind; of two lines of one trial the later holds."""

    def __init__(self, folder: Path, kind: type[Row]) -> None:
        self.path = folder / TRIALS
        self._kind = kind

    def rows(self) -> list[Row]:
        """All whole lines, in the order in which trials ended; a line that a kill cut off is left out.

        Raises:
            IntegrityError: a whole line is no record of a trial of this sweep.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]
        try:
            return [self._kind.model_validate_json(line) for line in lines]
        except ValidationError as error:
            raise IntegrityError(f"{self.path} is damaged; name another output", field="output") from error

    def append(self, row: Row) -> None:
        """Write one line, on disk before this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as handle:
            handle.seek(0)
            whole = handle.read().rfind(b"\n") + 1
            handle.truncate(whole)
            handle.write(row.model_dump_json().encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
