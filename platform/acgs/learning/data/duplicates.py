"""Near-duplicate records."""

from __future__ import annotations

from collections.abc import Sequence

from acgs.governance.scenarios.deduplicate import without_near_duplicates
from acgs.governance.scenarios.example import TextExample
from acgs.learning.data.records import Record


def without_duplicates(records: Sequence[Record], *, similarity: float = 0.8) -> list[Record]:
    """Keep the first of every set of near-copies, in order; two that differ in whether they breach are both kept.

    Needs all records in memory. Doing it twice changes nothing.
    """
    examples = [TextExample.of(record.contents, record.principles, group="") for record in records]
    by_example = {id(example): record for example, record in zip(examples, records, strict=True)}
    return [by_example[id(example)] for example in without_near_duplicates(examples, similarity=similarity)]
