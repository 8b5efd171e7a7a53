"""A data set filtered into another, wherever its rows were judged: one at a time here, or many at once on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from acgs.governance.decision import Governor
from acgs.learning.data.dataset import Dataset, DatasetWriter
from acgs.learning.data.filters import FilterCounts, Judged, Judgement, Uncertain
from acgs.learning.data.manifest import Manifest, Operation
from acgs.learning.data.records import Record


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A row of a data set with what was found of it; `split` is None in an undivided set."""

    split: str | None
    record: Record
    judgement: Judgement


def write_filtered(
    rows: Iterable[JudgedRow],
    dataset: Dataset,
    output: Path,
    governor: Governor,
    *,
    uncertain: Uncertain,
    judged: Judged,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Manifest, FilterCounts]:
    """Write the kept rows as a data set, and the others with their reasons to its rejects; one row is held at a time.

    Args:
        rows: every row of `dataset`, in its order, judged by `governor`'s rules and guard under the two choices.
        advance: told how many more rows are done.

    Raises:
        InvalidInputError: nothing was kept, or the output is taken.
    """
    counts = FilterCounts()
    with DatasetWriter(output) as writer:
        for row in rows:
            rejection = row.judgement.rejection
            counts.count(row.judgement)
            if rejection is None:
                writer.add(row.record, row.split)
            else:
                writer.reject(rejection.line())
            advance(1)
        counts.require_any_kept()
        chosen = {"uncertain": uncertain, "judged": judged, "guard": governor.bundle.version}
        manifest = writer.finish(
            parents=[dataset.parent],
            origins=dataset.manifest.origins,
            operations=[*dataset.manifest.operations, Operation(name="filter", parameters=chosen)],
            constitution_digest=governor.constitution.digest,
        )
    return manifest, counts
