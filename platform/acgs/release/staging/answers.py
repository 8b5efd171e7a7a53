"""A candidate's answers to held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from acgs.errors import AcgsError
from acgs.release.staging.held_out import HeldOutRow
from acgs.serving.served import ServedVersion
from acgs.serving.windows import agree

BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Answers:
    """One answer a row, or the reason why there is none."""

    rows: Sequence[HeldOutRow]
    values: Sequence[Any]
    errors: Sequence[str | None]

    def labelled(self) -> list[tuple[HeldOutRow, Any]]:
        """Rows with a label, and their answers; a row without an answer has the answer None, which is wrong."""
        return [(row, value) for row, value in zip(self.rows, self.values, strict=True) if row.label is not None]


def ask_all(served: ServedVersion, rows: Sequence[HeldOutRow]) -> Answers:
    """Ask a loaded version for every row. A batch that fails is asked row by row, so that one row spoils no other."""
    values: list[Any] = []
    errors: list[str | None] = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        try:
            served.check([row.input for row in part])
            values += served.predict([row.input for row in part], {}).values
            errors += [None] * len(part)
        except AcgsError:
            for row in part:
                value, error = _ask(served, row)
                values.append(value)
                errors.append(error)
    return Answers(rows, values, errors)


def right(label: Any, value: Any) -> bool:
    """Whether an answer is what the label says, numbers up to rounding."""
    return value is not None and agree(label, value)


def _ask(served: ServedVersion, row: HeldOutRow) -> tuple[Any, str | None]:
    try:
        served.check([row.input])
        return served.predict([row.input], {}).values[0], None
    except AcgsError as error:
        return None, error.message
