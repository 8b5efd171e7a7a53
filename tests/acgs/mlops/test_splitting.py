"""A row that was kept back once is kept back for good."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.mlops.splitting import keep_back

ROWS = st.integers(20, 200)
SEEDS = st.integers(0, 1000)


def made(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 3)), rng.integers(0, 2, rows)


@given(st.integers(100, 200), ROWS, SEEDS)  # so many that some draw either side
def test_a_later_table_never_teaches_what_was_kept_back(rows: int, more: int, seed: int) -> None:
    table, labels = made(rows + more, seed)
    order = np.random.default_rng(seed).permutation(rows + more)
    _, kept = keep_back(table[:rows], labels[:rows], 0.25, seed, by_class=False)
    train, _ = keep_back(table[order], labels[order], 0.25, seed, by_class=False)
    assert not {tuple(row) for row in table[kept]} & {tuple(row) for row in table[order][train]}


@given(ROWS, SEEDS, st.floats(0.01, 0.99))
def test_every_row_is_on_one_side_and_every_class_on_both(rows: int, seed: int, share: float) -> None:
    table, labels = made(rows, seed)
    labels[:2], labels[2:4] = 0, 1
    train, kept = keep_back(table, labels, share, seed, by_class=True)
    assert sorted([*train, *kept]) == list(range(rows))
    assert set(labels[train]) == set(labels[kept]) == {0, 1}


def test_equal_rows_are_on_one_side_and_the_share_is_kept_on_average() -> None:
    table, labels = made(4000, 0)
    table[1::2] = table[::2]
    table[:2, 0] = [np.nan, -np.nan]
    table[2:4, 1] = [0.0, -0.0]
    train, kept = keep_back(table, labels, 0.25, 3, by_class=False)
    assert set(train // 2).isdisjoint(kept // 2)
    assert len(kept) / len(table) == pytest.approx(0.25, abs=0.03)
    assert keep_back(table, labels, 0.25, 3, by_class=False)[1].tolist() == kept.tolist()
    assert keep_back(table, labels, 0.25, 4, by_class=False)[1].tolist() != kept.tolist()


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidInputError) as refused:
        keep_back(*made(20, 0), share, 0, by_class=True)
    assert refused.value.field == "held_out_share"


def test_a_class_of_one_row_or_of_equal_rows_is_refused() -> None:
    table, labels = made(20, 0)
    labels[:] = 0
    labels[:3], table[:3] = 1, table[0]
    with pytest.raises(InvalidInputError, match="too few different rows") as refused:
        keep_back(table, labels, 0.25, 0, by_class=True)
    assert refused.value.field == "X"
    with pytest.raises(InvalidInputError, match="the table has too few"):
        keep_back(np.zeros((20, 3)), labels, 0.25, 0, by_class=False)
