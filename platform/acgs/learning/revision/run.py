"""A run over a data set: rows in, chains appended batch by batch to a file that survives any kill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from acgs.errors import IntegrityError, InvalidInputError
from acgs.governance.evaluation import NumberedLine, numbered
from acgs.governance.record_file import RecordFile
from acgs.learning.data.dataset import Dataset
from acgs.learning.data.records import parse_record
from acgs.learning.revision.chain import Chain
from acgs.learning.revision.loop import RevisionLoop, Row

CHAINS: Final = "chains.jsonl"
BATCH: Final = 16
"""Rows revised together, between two writes."""


def revise_dataset(
    dataset: Dataset,
    output: Path,
    loop: RevisionLoop,
    *,
    batch: int = BATCH,
    advance: Callable[[int], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Bring `output/chains.jsonl` to its end, going on where an earlier run stopped; no row is lost or repeated.

    Args:
        advance: told how many more rows are done.
        stop: asked between batches.

    Returns:
        Whether all rows are done.

    Raises:
        InvalidInputError: the input, the constitution, a part or a setting changed since the run was begun.
        UnavailableError: a part cannot answer, or another run is writing; run it again to go on.
        IntegrityError: the file was damaged.
    """
    with ExitStack() as stack:
        handles = [stack.enter_context(path.open("rb")) for path in dataset.files()]
        records = stack.enter_context(RecordFile(output / CHAINS))
        lines = numbered(_joined(handles))
        for _ in records.resume(lines, loop.provenance):
            advance(1)
        while waiting := list(islice(lines, batch)):
            if stop():
                return False
            chains = _revised(loop, waiting)
            records.append([chain.model_dump(mode="json") for chain in chains])
            advance(len(chains))
    return True


def _revised(loop: RevisionLoop, lines: Sequence[NumberedLine]) -> list[Chain]:
    rows = [_row(line) for line in lines]
    try:
        return loop.run(rows)
    except InvalidInputError as error:
        where = f"rows {rows[0].line} to {rows[-1].line}"
        raise InvalidInputError(f"{where}: {error.message}", field=error.field) from error


def _joined(handles: Iterable[BinaryIO]) -> Iterator[bytes]:
    """The lines of all files, as if they were one."""
    for handle in handles:
        yield from handle


def _row(line: NumberedLine) -> Row:
    return Row(line.number, line.digest, parse_record(line.data, f"row {line.number}"))


def read_chains(output: Path) -> Iterator[Chain]:
    """The chains of a run, one at a time.

    Raises:
        IntegrityError: a row is no chain.
    """
    with (output / CHAINS).open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                yield Chain.model_validate_json(line)
            except ValidationError as error:
                raise IntegrityError(
                    f"{CHAINS}, row {number} is damaged; move the folder away and start anew"
                ) from error
