"""Which rows of a table are kept back: the same ones in every later table that holds them.

A split drawn by place would change as the table grows, and a later version would learn from rows that its contract
then asks it about.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from acgs.errors import InvalidInputError

_Array = np.ndarray[Any, Any]


def keep_back(table: _Array, labels: _Array, share: float, seed: int, *, by_class: bool) -> tuple[_Array, _Array]:
    """Places of the rows to learn from, and of those to keep back.

    Each row draws its side from its own numbers and the seed, so that equal rows are on one side, whatever else is in
    the table. Only where a class, or the whole table, would be on one side alone, the row nearest to the other moves.

    Args:
        table: numbers, shape (n, features).
        labels: shape (n,).
        share: of the rows that are kept back, on average.
        by_class: every class has rows on both sides.

    Raises:
        InvalidInputError: the share is no share, or a class, or the whole table, has less than two different rows.
    """
    if not 0 < share < 1:
        raise InvalidInputError("held_out_share lies between 0 and 1", field="held_out_share")
    draws = _draws(table, seed)
    kept = draws < share
    groups = [labels == label for label in np.unique(labels)] if by_class else [np.ones(len(labels), dtype=bool)]
    for group in groups:
        drawn = draws[group]
        if drawn.min() == drawn.max():
            whole = "a class" if by_class else "the table"
            raise InvalidInputError(f"{whole} has too few different rows to keep some back", field="X")
        if not kept[group].any():
            kept |= group & (draws == drawn.min())
        elif kept[group].all():
            kept &= ~(group & (draws == drawn.max()))
    return np.flatnonzero(~kept), np.flatnonzero(kept)


def _draws(table: _Array, seed: int) -> _Array:
    """A number in [0, 1) for each row, shape (n,)."""
    # One form of what is missing, and of zero.
    plain = np.where(np.isnan(table), np.nan, table + 0.0).astype("<f8")
    begun = hashlib.sha256(f"acgs held-out rows {seed}\n".encode())
    found = np.empty(len(plain))
    for place, row in enumerate(plain):
        drawn = begun.copy()
        drawn.update(row.tobytes())
        found[place] = int.from_bytes(drawn.digest()[:6], "big") / 2**48
    return found
