"""Rows of foreign files, whatever their columns: JSON lines, Parquet, saved data sets, the hub, plain text.

Files are streamed. Nothing is unpickled and no code of a data set runs. What cannot be had is an error; nothing is put
in its place.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from acgs.errors import InvalidInputError, UnavailableError
from acgs.learning.data.manifest import file_digest

HUB: Final = "hub:"
"""Prefix of a data set to download: `hub:owner/name`, or `hub:owner/name@revision`; a split follows after `#`."""

Rows = Iterator[tuple[str, Mapping[str, Any]]]
"""Each row with the words that name it in an error."""


def open_rows(source: str) -> Rows:
    """Read a source by its kind: `.jsonl` (or `.jsonl.gz`), `.parquet`, `.txt`, a saved data set, or `hub:`.

    Raises:
        InvalidInputError: it cannot be read; file and row are named.
        UnavailableError: a library is missing, or a download failed.
    """
    if source.startswith(HUB):
        return _hub(source.removeprefix(HUB))
    path = Path(source)
    if not path.exists():
        raise InvalidInputError(f"{source} does not exist; the hub's data sets are named 'hub:...'", field="input")
    if path.is_dir():
        return _saved_dataset(path)
    readers = {".jsonl": _json_lines, ".jsonl.gz": _json_lines, ".parquet": _parquet, ".txt": _paragraphs}
    reader = next((read for ending, read in readers.items() if path.name.endswith(ending)), None)
    if reader is None:
        raise InvalidInputError(f"{path.name}: give {', '.join(readers)}, a saved data set or hub:...", field="input")
    return reader(path)


def source_digest(source: str) -> str:
    """SHA-256 that identifies a source: of a file's bytes, of a folder's names and bytes, of a hub name with revision.

    A hub name without a revision may mean other rows tomorrow; the manifest's file digests tell them apart.
    """
    if source.startswith(HUB):
        return hashlib.sha256(source.encode()).hexdigest()
    path = Path(source)
    if path.is_file():
        return file_digest(path)
    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n".encode())
    return total.hexdigest()


def _json_lines(path: Path) -> Rows:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    where = f"{path.name}, row {number}"
                    yield where, _parse(line, where)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is no whole gzip file"
        raise InvalidInputError(f"cannot read {path}: {reason}", field="input") from error


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"{where}: not JSON: {error.msg}", field="row") from None
    if not isinstance(row, dict):
        raise InvalidInputError(f"{where}: not a JSON object", field="row")
    return row


def _parquet(path: Path) -> Rows:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise UnavailableError("Parquet files need the extra 'train': pip install 'acgs[train]'") from error
    try:
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(batch_size=1024) for row in batch.to_pylist())
            yield from _numbered(rows, path.name)
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError(f"cannot read {path} as Parquet", field="input") from error


def _paragraphs(path: Path) -> Rows:
    """Paragraphs of a text, parted by blank lines; the row number is that of the first line."""
    try:
        with path.open(encoding="utf-8") as handle:
            lines: list[str] = []
            first = 1
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    first = first if lines else number
                    lines.append(line.rstrip())
                elif lines:
                    yield f"{path.name}, row {first}", {"text": "\n".join(lines)}
                    lines = []
            if lines:
                yield f"{path.name}, row {first}", {"text": "\n".join(lines)}
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path.name} is not UTF-8 text", field="input") from error
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field="input") from error


def _saved_dataset(path: Path) -> Rows:
    try:
        from datasets import Dataset, load_from_disk
    except ModuleNotFoundError as error:
        raise UnavailableError("a saved data set needs the extra 'train': pip install 'acgs[train]'") from error
    try:
        dataset = load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(f"{path} is no folder that datasets saved", field="input") from error
    if not isinstance(dataset, Dataset):
        raise InvalidInputError(f"{path.name} holds several splits; name the folder of one", field="input")
    yield from _numbered(dataset, path.name)


def _hub(name: str) -> Rows:
    try:
        from datasets import load_dataset
    except ModuleNotFoundError as error:
        raise UnavailableError("the hub needs the extra 'train': pip install 'acgs[train]'") from error
    place, _, split = name.partition("#")
    repository, _, revision = place.partition("@")
    try:
        dataset = load_dataset(repository, split=split or "train", revision=revision or None, streaming=True)
        yield from _numbered(dataset, place)
    except InvalidInputError:
        raise
    except Exception as error:  # the hub's client raises errors of five libraries
        raise UnavailableError(
            f"'{HUB}{place}' could not be downloaded ({type(error).__name__}); check name, network and access"
        ) from error


def _numbered(rows: Iterable[Mapping[str, Any]], name: str) -> Rows:
    for number, row in enumerate(rows, start=1):
        yield f"{name}, row {number}", row
