"""Strata: rows that are alike, within which the arms may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acgs.causal.table import Column
from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats

Codes = NDArray[np.int64]
"""The stratum of each row, as a number from 0, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Support:
    """What is left where both arms occur."""

    kept: NDArray[np.bool_]
    """Rows in strata with both arms, shape (n,)."""
    strata: int
    """Strata with both arms."""
    one_armed: int
    """Strata with one arm only, whose rows are dropped."""

    @property
    def dropped_share(self) -> float:
        """Share of rows dropped."""
        return 1 - float(self.kept.mean())


def stratify(columns: Mapping[str, Column], *, bins: int) -> Codes:
    """The stratum of each row: one for each combination of the columns' values.

    A numeric column with more than `bins` values is cut at its quantiles; equal values stay together.

    Raises:
        InvalidInputError: no columns.
    """
    if not columns:
        raise InvalidInputError("name at least one column to stratify by", field="strata")
    parts = [_bin(column, bins) for column in columns.values()]
    return np.unique(np.column_stack(parts), axis=0, return_inverse=True)[1].astype(np.int64)


def quantile_bins(values: Floats, bins: int) -> Codes:
    """The quantile bin of each value, from 0; equal values share a bin, so there may be fewer than `bins`."""
    inner = np.quantile(values, np.arange(1, bins) / bins)
    return np.searchsorted(np.unique(inner), values, side="right").astype(np.int64)


def common_support(strata: Codes, treated: NDArray[np.bool_]) -> Support:
    """Which rows lie in strata where both arms occur."""
    ours = np.bincount(strata, weights=treated)
    every = np.bincount(strata)
    both = (ours > 0) & (ours < every)
    return Support(both[strata], int(both.sum()), int(((every > 0) & ~both).sum()))


def one_armed_by_chance(
    strata: Codes, probability: Floats, cluster: NDArray[np.int64] | None, *, draws: int, seed: int
) -> NDArray[np.int64]:
    """How many rows lie in strata with one arm, where the arms are drawn, shape (draws,).

    Args:
        probability: of treatment, shape (n,).
        cluster: rows that are given their arm together, shape (n,).
    """
    rng = np.random.default_rng(seed)
    unit = np.arange(len(strata)) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    units = int(unit.max()) + 1
    found = [~common_support(strata, (rng.random(units)[unit] < probability)).kept for _ in range(draws)]
    return np.array([int(alone.sum()) for alone in found], dtype=np.int64)


def _bin(column: Column, bins: int) -> Codes:
    values, codes = np.unique(column, return_inverse=True)
    if column.dtype.kind == "f" and len(values) > bins:
        return quantile_bins(column, bins)
    return codes.astype(np.int64)
