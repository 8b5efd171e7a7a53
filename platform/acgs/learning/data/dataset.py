"""Data sets on disk: a folder of JSON lines files with a manifest. It appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from acgs.errors import InvalidInputError
from acgs.files import sync_directory
from acgs.learning.data.manifest import Manifest, Operation, Parent, seal, verified_manifest
from acgs.learning.data.records import Record, parse_record
from acgs.learning.data.splits import SPLITS

DATA: Final = "data.jsonl"
REJECTS: Final = "rejects.jsonl"


class DatasetWriter:
    """Writes a data set into a folder beside its final place and moves it there when it is whole."""

    def __init__(self, directory: Path) -> None:
        """
        Raises:
            InvalidInputError: something is there already, or the place cannot be written.
        """
        refuse_occupied(directory)
        self._final = directory
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            self._staging = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
        except OSError as error:
            raise InvalidInputError(f"cannot write {directory}: {error.strerror}", field="output") from error
        self._files: dict[str, BinaryIO] = {}
        self._columns: set[str] = set()

    def add(self, record: Record, split: str | None = None) -> None:
        """Append a record to a split's file, or to the one file of an undivided set."""
        self._columns |= record.model_fields_set
        self._file(f"{split}.jsonl" if split else DATA).write(record.line())

    def reject(self, line: bytes) -> None:
        """Append a line to the rejects, which are not part of the data."""
        self._file(REJECTS).write(line)

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = (self._staging / name).open("wb")
        return self._files[name]

    def finish(
        self,
        *,
        parents: Sequence[Parent],
        origins: Iterable[str],
        operations: Sequence[Operation],
        constitution_digest: str | None = None,
    ) -> Manifest:
        """Flush, seal and move into place.

        Raises:
            InvalidInputError: no record was added, or the place was taken meanwhile.
        """
        for handle in self._files.values():
            handle.flush()
            os.fsync(handle.fileno())
        names = [name for name in self._files if name != REJECTS]
        if not names:
            raise InvalidInputError("there are no rows to write", field="input")
        manifest = seal(
            self._staging,
            names,
            columns=sorted(self._columns),
            parents=parents,
            origins=origins,
            operations=operations,
            constitution_digest=constitution_digest,
        )
        refuse_occupied(self._final)
        self._staging.chmod(0o755)
        self._staging.rename(self._final)
        sync_directory(self._final.parent)
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._files.values():
            handle.close()
        shutil.rmtree(self._staging, ignore_errors=True)


def refuse_occupied(directory: Path) -> None:
    """Refuse to write over anything.

    Raises:
        InvalidInputError: the name is taken by a file or by a folder that is not empty.
    """
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        raise InvalidInputError(f"{directory} exists; name another output", field="output")


class Dataset:
    """A verified data set."""

    def __init__(self, directory: Path) -> None:
        """Check every file against the manifest.

        Raises:
            InvalidInputError: the folder is no data set.
            IntegrityError: a file was changed.
        """
        self.directory = directory
        self.manifest = verified_manifest(directory)

    def files(self, split: str | None = None) -> list[Path]:
        """The files of one split, or all.

        Raises:
            InvalidInputError: the set has no such split.
        """
        if split is None:
            order = [DATA, *(f"{name}.jsonl" for name in SPLITS)]
            return [self.directory / name for name in order if name in self.manifest.files]
        name = f"{split}.jsonl"
        if name not in self.manifest.files:
            raise InvalidInputError(f"{self.directory.name} has no split '{split}'", field="split")
        return [self.directory / name]

    def records(self, split: str | None = None) -> Iterator[Record]:
        """Read one record at a time."""
        for path in self.files(split):
            yield from read_records(path)

    def split_records(self) -> Iterator[tuple[str | None, Record]]:
        """Read one record at a time with the name of its split, None in an undivided set."""
        for path in self.files():
            split = None if path.name == DATA else path.stem
            yield from ((split, record) for record in read_records(path))

    @property
    def training_split(self) -> str | None:
        """`train` where the set is divided; what is not for training must not flow into what is."""
        return SPLITS[0] if f"{SPLITS[0]}.jsonl" in self.manifest.files else None

    @property
    def parent(self) -> Parent:
        """This set as an input of another."""
        return Parent(name=self.directory.name, digest=self.manifest.id)


def read_records(path: Path) -> Iterator[Record]:
    """Read a file of records, one at a time.

    Raises:
        InvalidInputError: the file cannot be read, or a row is no record; row and field are named.
    """
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                yield parse_record(line, f"{path.name}, row {number}")
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field="input") from error
