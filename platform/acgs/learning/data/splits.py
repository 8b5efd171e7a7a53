"""Splits that part no group: records that share a user or a group, directly or through others, stay together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from acgs.errors import InvalidInputError

SPLITS: Final = ("train", "validation", "test")
_TOLERANCE: Final = 1e-9


class _Components:
    """Union-find over keys with path halving (Tarjan & van Leeuwen 1984); the smallest key names its component."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def find(self, key: str) -> str:
        parents = self._parents
        parents.setdefault(key, key)
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    def join(self, one: str, other: str) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._parents[high] = low


def check_fractions(fractions: Mapping[str, float]) -> None:
    """
    Raises:
        InvalidInputError: a share is not positive or they do not add up to 1.
    """
    positive = all(share > 0 for share in fractions.values())
    if not positive or not abs(sum(fractions.values()) - 1) <= _TOLERANCE:
        raise InvalidInputError("the shares of a split are positive and add up to 1", field="split")


def parse_shares(text: str) -> dict[str, float]:
    """Shares by split: `0.8/0.1/0.1` is train, validation and test, `0.9/0.1` is train and test.

    Raises:
        InvalidInputError: these are no such numbers, or they do not add up to 1.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
        shares = dict(zip(SPLITS if len(numbers) > 2 else (SPLITS[0], SPLITS[-1]), numbers, strict=True))
    except ValueError as error:
        raise InvalidInputError("give the shares as 0.8/0.1/0.1 or 0.9/0.1", field="split") from error
    check_fractions(shares)
    return shares


def assign_splits(keys: Iterable[tuple[str, ...]], fractions: Mapping[str, float], seed: int) -> list[str]:
    """Name the split of each record.

    Args:
        keys: what ties each record to others, `Record.keys`.
        fractions: wanted share of records by split; groups stay whole, so shares are met up to a group's size.
        seed: the same seed gives the same splits, whatever the order of the groups.

    Raises:
        InvalidInputError: bad shares, or fewer groups than splits.
    """
    check_fractions(fractions)
    rows = list(keys)
    components = _Components()
    for first, *others in rows:
        for other in others:
            components.join(first, other)
    sizes = Counter(components.find(row[0]) for row in rows)
    if len(sizes) < len(fractions):
        raise InvalidInputError(
            f"{len(sizes)} group(s) cannot fill {len(fractions)} splits; no group may be on two sides", field="split"
        )
    home = _fill(sizes, fractions, seed)
    return [home[components.find(row[0])] for row in rows]


def _fill(sizes: Mapping[str, int], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Deal groups in an order drawn by the seed to the split that is furthest below its share; empty ones first."""
    total = sum(sizes.values())
    filled = dict.fromkeys(fractions, 0)
    home: dict[str, str] = {}
    for key in sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest()):
        empty = [name for name in fractions if not filled[name]]
        if len(empty) == len(sizes) - len(home):
            chosen = empty[0]
        else:
            chosen = max(fractions, key=lambda name: fractions[name] - filled[name] / total)
        home[key] = chosen
        filled[chosen] += sizes[key]
    return home
