"""Labelled texts that a user brings: JSON lines, Parquet, or a data set saved by the `datasets` library.

Columns are `text` and `label`, and may be `group` and `principle`. Nothing is unpickled and no code of a data set runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from acgs.errors import InvalidInputError, UnavailableError
from acgs.governance.scenarios.example import TextExample

_REQUIRED: Final = frozenset({"text", "label"})
_KNOWN: Final = _REQUIRED | {"group", "principle"}
_LABELS: Final = {"violate": True, "comply": False}

Rows = Iterator[tuple[str, Mapping[str, Any]]]
"""Each row with the words that name it in an error."""


def load_user_data(
    path: Path, *, principles: Collection[str], default_principle: str | None = None
) -> list[TextExample]:
    """Read a whole data set.

    Args:
        path: a `.jsonl` file, a `.parquet` file, or a folder that `Dataset.save_to_disk` wrote.
        principles: the ids that the column `principle` may hold, one a row or a list of them.
        default_principle: what a breach without a `principle` is counted under.

    Returns:
        The examples in their order. A row without `group` is a group of its own.

    Raises:
        InvalidInputError: the set cannot be read or is empty, or a value does not fit; row and column are named.
        UnavailableError: the library that reads the format is not installed.
    """
    if default_principle is not None and default_principle not in principles:
        raise InvalidInputError(f"unknown principle '{default_principle}'", field="default_principle")
    examples = [_example(where, row, principles, default_principle) for where, row in _reader(path)(path)]
    if not examples:
        raise InvalidInputError(f"{path.name} holds no rows", field=path.name)
    return examples


def _reader(path: Path) -> Callable[[Path], Rows]:
    if path.is_dir():
        return _saved_dataset
    readers: dict[str, Callable[[Path], Rows]] = {".jsonl": _json_lines, ".parquet": _parquet}
    if path.suffix not in readers:
        raise InvalidInputError(
            f"{path.name}: give a .jsonl file, a .parquet file or a folder saved by datasets", field=path.name
        )
    return readers[path.suffix]


def _json_lines(path: Path) -> Rows:
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                where = f"{path.name}, row {number}"
                row = _parse(line, where)
                _check_columns(row, where)
                yield where, row
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field=path.name) from error


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"{where}: not JSON: {error.msg}", field="row") from error
    if not isinstance(row, dict):
        raise InvalidInputError(f"{where}: not a JSON object", field="row")
    return row


def _parquet(path: Path) -> Rows:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise UnavailableError("Parquet files need pyarrow: pip install pyarrow") from error
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(names, path.name)
            batches = file.iter_batches(columns=[name for name in names if name in _KNOWN])
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from _numbered(rows, path.name)
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError(f"cannot read {path} as Parquet", field=path.name) from error


def _saved_dataset(path: Path) -> Rows:
    try:
        from datasets import Dataset, load_from_disk
    except ModuleNotFoundError as error:
        raise UnavailableError("a saved data set needs the datasets library: pip install datasets") from error
    try:
        dataset = load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(f"{path} is no folder that datasets saved", field=path.name) from error
    if not isinstance(dataset, Dataset):
        raise InvalidInputError(f"{path.name} holds several splits; name the folder of one", field=path.name)
    _check_columns(dataset.column_names, path.name)
    yield from _numbered(dataset, path.name)


def _numbered(rows: Iterable[Mapping[str, Any]], name: str) -> Rows:
    for number, row in enumerate(rows, start=1):
        yield f"{name}, row {number}", row


def _check_columns(names: Collection[str], where: str) -> None:
    missing = sorted(_REQUIRED.difference(names))
    if missing:
        raise InvalidInputError(f"{where}: column '{missing[0]}' is missing", field=missing[0])
    unknown = sorted(set(names) - _KNOWN)
    if unknown:
        raise InvalidInputError(
            f"{where}: unknown column '{unknown[0]}'; known: {', '.join(sorted(_KNOWN))}", field=unknown[0]
        )


def _example(
    where: str, row: Mapping[str, Any], principles: Collection[str], default_principle: str | None
) -> TextExample:
    text = row["text"]
    if not isinstance(text, str) or not text.strip():
        raise InvalidInputError(f"{where}: column 'text' must be a text that is not empty", field="text")
    group = row.get("group")
    if group is not None and not isinstance(group, str | int):
        raise InvalidInputError(f"{where}: column 'group' must be a text or a whole number", field="group")
    breaches = _named_principles(where, row.get("principle"), principles)
    if _violates(where, row["label"]):
        breaches = breaches or ([] if default_principle is None else [default_principle])
        if not breaches:
            raise InvalidInputError(
                f"{where}: column 'principle' must name what is breached, or give a default principle",
                field="principle",
            )
    elif breaches:
        raise InvalidInputError(f"{where}: column 'principle' names a breach, 'label' says comply", field="principle")
    return TextExample.of(text, breaches, group=where if group is None else str(group))


def _violates(where: str, label: Any) -> bool:
    """`violate` or `comply`, true or false, 1 or 0; nothing else is guessed at."""
    if isinstance(label, bool):
        return label
    if isinstance(label, int) and label in (0, 1):
        return label == 1
    if isinstance(label, str) and label in _LABELS:
        return _LABELS[label]
    raise InvalidInputError(f"{where}: column 'label' must be violate or comply, true or false, 1 or 0", field="label")


def _named_principles(where: str, value: Any, principles: Collection[str]) -> list[str]:
    names = [] if value is None else value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str) or name not in principles:
            raise InvalidInputError(
                f"{where}: column 'principle' must hold principles of the constitution", field="principle"
            )
    return list(names)
