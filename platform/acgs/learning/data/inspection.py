"""What a data set holds: counts, lengths, verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from acgs.learning.data.records import Record

_QUANTILES: Final = (0.0, 0.5, 0.9, 0.99, 1.0)
_QUANTILE_NAMES: Final = ("least", "median", "p90", "p99", "most")


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Counts over records. Lengths are words; `responses` has no entry where no record has one."""

    rows: int
    forms: dict[str, int]
    groups: int
    users: int
    by_source: dict[str, int]
    by_domain: dict[str, int]
    by_principle: dict[str, int]
    """Rows labelled as breaching a principle; a row may breach several."""
    words: dict[str, float]
    response_words: dict[str, float] | None


def count_records(records: Iterable[Record]) -> RecordCounts:
    """Count in one pass; keeps a length a row and the names of groups and users."""
    forms: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    domains: Counter[str] = Counter()
    principles: Counter[str] = Counter()
    groups: set[str] = set()
    users: set[str] = set()
    words: list[int] = []
    responses: list[int] = []
    for record in records:
        forms[_form(record)] += 1
        sources[record.source] += 1
        domains[record.domain] += 1
        principles.update(record.principles)
        groups.update(() if record.group is None else (record.group,))
        users.update(() if record.user is None else (record.user,))
        words.append(len(record.contents.split()))
        if record.response is not None:
            responses.append(len(record.response.split()))
    return RecordCounts(
        rows=len(words),
        forms=dict(forms.most_common()),
        groups=len(groups),
        users=len(users),
        by_source=dict(sources.most_common()),
        by_domain=dict(domains.most_common()),
        by_principle=dict(principles.most_common()),
        words=_quantiles(words),
        response_words=_quantiles(responses) if responses else None,
    )


def _form(record: Record) -> str:
    if record.text is not None:
        return "text"
    return "chat" if record.response is not None else "prompt"


def _quantiles(values: list[int]) -> dict[str, float]:
    if not values:
        return {}
    return dict(zip(_QUANTILE_NAMES, np.quantile(values, _QUANTILES).tolist(), strict=True))
