"""Logged tables from files: CSV with a header, or one JSON object a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from acgs.causal.table import Column
from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError

GAPS: Final = frozenset({"", "NA", "NaN", "nan", "null", "None"})
"""What stands in a cell without a value."""
_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})


def read_columns(path: Path, wanted: Iterable[str]) -> dict[str, Column]:
    """Read the columns whose names match one of the `wanted` patterns.

    A column of numbers becomes float64, with NaN for gaps; any other becomes texts, with "" for gaps.

    Raises:
        InvalidInputError: not such a file, or a row that does not fit the header; the message gives the line.
        InsufficientDataError: no rows.
        OSError: it cannot be read.
    """
    patterns = tuple(wanted)
    rows = _json_rows if path.suffix.lower() in _JSON_LINES else _csv_rows
    cells: dict[str, list[Any]] = {}
    count = 0
    try:
        for count, row in enumerate(rows(path, patterns), 1):
            for name, value in row.items():
                cells.setdefault(name, [None] * (count - 1)).append(value)
            for values in cells.values():
                if len(values) < count:
                    values.append(None)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path.name} is no table of UTF-8 text", field="input") from error
    except csv.Error as error:
        raise InvalidInputError(f"{path.name}, row {count + 1} after the header: {error}", field="input") from error
    if not count:
        raise InsufficientDataError(f"{path.name} has no rows", field="input")
    return {name: _column(values) for name, values in cells.items()}


def first_gap(columns: Mapping[str, Column]) -> str | None:
    """The name of the first column with a gap."""
    return next((name for name, column in columns.items() if not _filled(column).all()), None)


def drop_gaps(columns: Mapping[str, Column]) -> tuple[dict[str, Column], int]:
    """The rows that have a value in every column, and how many were dropped.

    Raises:
        InsufficientDataError: no such row.
    """
    whole = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for column in columns.values():
        whole &= _filled(column)
    if not whole.any():
        raise InsufficientDataError("every row has a gap in some column that is used", field="input")
    return {name: column[whole] for name, column in columns.items()}, int((~whole).sum())


def _filled(column: Column) -> NDArray[np.bool_]:
    return ~np.isnan(column) if column.dtype.kind == "f" else column != ""


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _csv_rows(path: Path, patterns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle)
        header = next(reader, [])
        places = {name: place for place, name in enumerate(header) if _matches(name, patterns)}
        for name in places:
            if header.count(name) > 1:
                raise InvalidInputError(f"{path.name} has two columns named {name}", field=name)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InvalidInputError(
                    f"{path.name}, line {reader.line_num}: {len(row)} cells where the header has {len(header)}",
                    field="input",
                )
            yield {name: None if row[place] in GAPS else row[place] for name, place in places.items()}


def _json_rows(path: Path, patterns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InvalidInputError(f"{path.name}, line {number} is not JSON", field="input") from error
            if not isinstance(row, dict):
                raise InvalidInputError(f"{path.name}, line {number} is not a JSON object", field="input")
            kept = {name: value for name, value in row.items() if _matches(name, patterns)}
            for name, value in kept.items():
                if isinstance(value, list | dict):
                    raise InvalidInputError(
                        f"{path.name}, line {number}: {name} is neither a number nor a text", field=name
                    )
            yield kept


def _column(values: list[Any]) -> Column:
    try:
        return np.array([np.nan if value is None else _number(value) for value in values])
    except (ValueError, OverflowError):
        return np.array(["" if value is None else str(value) for value in values])


def _number(value: Any) -> float:
    # Python's own way of writing 1000 as 1_000 is no number in a file.
    if isinstance(value, str) and "_" in value:
        raise ValueError(value)
    return float(value)
