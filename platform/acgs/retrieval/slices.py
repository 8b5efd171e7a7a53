"""Slices of queries, frozen by what the queries are before any outcome is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from acgs.retrieval.analysis import terms
from acgs.retrieval.natural_language import nl_confidence

GLOBAL: Final = "global"
HARD_NL: Final = "hard-NL"
HARD_QUANTILE: Final = 0.5
"""hard-NL: at or above this quantile of the collection both in length and in nl_confidence. The published thresholds
(entropy above 2.5, more than 6 tokens) keep 45 to 96 % of a collection, so a frozen quantile stands in their place."""


def slice_queries(queries: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Query ids by slice: all, hard-NL, and short and long halves by number of terms.

    The slices depend on the texts alone. A query may stand in several.
    """
    ids = sorted(queries)
    if not ids:
        return {}
    length = np.array([len(terms(queries[query])) for query in ids], dtype=np.float64)
    plain = np.array([nl_confidence(queries[query]) for query in ids])
    middle = float(np.median(length))
    hard = (length >= np.quantile(length, HARD_QUANTILE)) & (plain >= np.quantile(plain, HARD_QUANTILE))
    members = {GLOBAL: np.ones(len(ids), bool), HARD_NL: hard, "short": length < middle, "long": length >= middle}
    return {
        name: tuple(query for query, is_in in zip(ids, held, strict=True) if is_in) for name, held in members.items()
    }
