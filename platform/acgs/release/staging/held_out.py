"""Held-out rows: inputs with what the answer should be, which no training and no choice has seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.errors import InvalidInputError, first_fault
from acgs.release.evidence import Name

MAX_ROWS: Final = 1_000_000


class HeldOutRow(BaseModel):
    """One row. `label` is what a right answer equals; without it the row counts for compliance and latency only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(min_length=1, max_length=256)]
    input: Any
    label: Any = None
    slices: tuple[Name, ...] = ()
    group: str | None = Field(None, description="person or template that rows share; such rows are no independent ones")
    domain: str = "general"
    context: dict[str, Any] = {}


def read_held_out(path: Path) -> list[HeldOutRow]:
    """Rows of a file of JSON lines.

    Raises:
        InvalidInputError: it cannot be read; a line is no row, or repeats an id; the line is named.
    """
    rows: list[HeldOutRow] = []
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    rows.append(_row(line, number, path))
                if len(rows) > MAX_ROWS:
                    raise InvalidInputError(f"{path} has more than {MAX_ROWS} rows", field="data")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}", field="data") from error
    if not rows:
        raise InvalidInputError(f"{path} holds no row", field="data")
    return rows


def repeats_an_id(rows: Sequence[HeldOutRow]) -> bool:
    """Whether two rows claim to be one measurement."""
    return len({row.id for row in rows}) < len(rows)


def distinct_rows(rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
    """Rows that are measurements of their own: of those with the same input, label, domain and context, the first.

    Raises:
        InvalidInputError: an id is given twice.
    """
    if repeats_an_id(rows):
        raise InvalidInputError("the rows give an id twice; each row is one measurement", field="id")
    kept: dict[bytes, HeldOutRow] = {}
    for row in rows:
        asked = [row.input, row.label, row.domain, row.context]
        kept.setdefault(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), row)
    return list(kept.values())


def distinct_inputs(rows: Sequence[HeldOutRow]) -> list[Any]:
    """What a model can be asked: one input is one request, in whatever context it was held out."""
    return list({_digest(row.input): row.input for row in rows}.values())


def independent_units(rows: Sequence[HeldOutRow]) -> tuple[str, ...]:
    """What each row is a finding about: its group, else its input, which the model answers alike in any context."""
    return tuple(f"group {row.group}" if row.group is not None else f"input {_digest(row.input)}" for row in rows)


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def rows_digest(rows: Sequence[HeldOutRow]) -> str:
    """SHA-256 (hex) over the rows, in any order: which data a figure is about."""
    lines = sorted(orjson.dumps(row.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS) for row in rows)
    return hashlib.sha256(rfc8785.dumps([hashlib.sha256(line).hexdigest() for line in lines])).hexdigest()


def _row(line: bytes, number: int, path: Path) -> HeldOutRow:
    try:
        return HeldOutRow.model_validate(orjson.loads(line))
    except orjson.JSONDecodeError:
        raise InvalidInputError(f"{path}, line {number}: not JSON", field="data") from None
    except ValidationError as error:
        field, fault = first_fault(error, whole="row")
        raise InvalidInputError(f"{path}, line {number}, {field}: {fault}", field=field) from None
