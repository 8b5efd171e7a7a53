"""The output of a long evaluation: appended batch by batch, on disk before it counts, resumable at any byte.

A record tells the number and digest of its input line and what judged it. A run that was killed leaves whole records
and at most one torn one, which is cut off; all others are checked against the input before a run goes on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import orjson

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import sync_directory
from acgs.governance.evaluation import NumberedLine

_OPENING: Final = b'{"line":'
"""Every record starts so; a last line that does not is somebody else's and is left alone."""


class RecordFile:
    """An output file under an exclusive lock."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            InvalidInputError: it cannot be written.
            UnavailableError: another run is writing it.
        """
        self._name = path.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():
                raise InvalidInputError(f"cannot write {path}: not a regular file", field="output")
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            sync_directory(path.parent)
        except OSError as error:
            raise InvalidInputError(f"cannot write {path}: {error.strerror}", field="output") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UnavailableError(f"another run is writing {path.name}; wait for it or name another file") from error

    def resume(self, lines: Iterator[NumberedLine], provenance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the records of an earlier run, taking their lines off `lines`; afterwards the file is ready to append.

        Raises:
            IntegrityError: a line that is not the last one is no record.
            InvalidInputError: the input changed, or other settings, constitution or bundle made the records.
        """
        self._file.seek(0)
        end = 0
        for row, data in enumerate(self._file, start=1):
            if not data.endswith(b"\n"):
                self._cut_torn(data, end)
                break
            record = self._parse(data, row)
            self._check(record, next(lines, None), provenance, row)
            yield record
            end += len(data)
        self._file.seek(end)

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records and wait until they are on disk.

        Raises:
            UnavailableError: they could not be written; the next run goes on where the disk stands.
        """
        try:
            self._file.write(b"".join(orjson.dumps(record) + b"\n" for record in records))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UnavailableError(f"cannot write {self._name}: {error.strerror}; run it again to go on") from error

    def _cut_torn(self, data: bytes, end: int) -> None:
        if not (data.startswith(_OPENING) or _OPENING.startswith(data)):
            raise InvalidInputError(f"{self._name} is no evaluation output; name another file", field="output")
        self._file.truncate(end)
        os.fsync(self._file.fileno())

    def _parse(self, data: bytes, row: int) -> dict[str, Any]:
        if not data.startswith(_OPENING):
            raise InvalidInputError(f"{self._name} is no evaluation output; name another file", field="output")
        try:
            record: dict[str, Any] = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise IntegrityError(f"{self._name}, row {row} is damaged; move the file away and start anew") from error
        return record

    def _check(
        self, record: Mapping[str, Any], line: NumberedLine | None, provenance: Mapping[str, Any], row: int
    ) -> None:
        if line is None or record["line"] != line.number or record.get("input_sha256") != line.digest:
            raise InvalidInputError(
                f"{self._name}, row {row} answers another line than the input now holds there; the input changed "
                "since: name another output file",
                field="input",
            )
        for name, value in provenance.items():
            if record.get(name) != value:
                raise InvalidInputError(
                    f"{self._name} was begun with another {name}; name another output file", field=name
                )

    def close(self) -> None:
        """Release the lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
