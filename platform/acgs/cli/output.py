"""How commands speak: tables for people, one JSON object for machines, one sentence for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

JSON_OPTION = "--json"


def write_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; cells are plain text, markup in them is not obeyed."""
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console().print(table)


def write_fields(title: str, fields: dict[str, object]) -> None:
    """Write names with their values, one a line."""
    table = Table(title=escape(title), show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a digest or key that is cut is of no use
    for name, value in fields.items():
        table.add_row(name, escape(str(value)))
    Console().print(table)


def say(text: str) -> None:
    """Write one line of plain text to standard output."""
    Console(soft_wrap=True, highlight=False).print(escape(text))


def write_error(code: str, message: str, *, field: str | None = None, as_json: bool) -> None:
    """Write an error: a JSON object on standard output where JSON was asked for, else a line on standard error."""
    if as_json:
        write_json({"error": {"code": code, "message": message, "field": field}})
    else:
        sys.stderr.write(f"acgs: {message}\n")
