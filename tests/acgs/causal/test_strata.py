from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from acgs.causal.strata import common_support, one_armed_by_chance, quantile_bins, stratify
from acgs.errors import InvalidInputError


def test_each_combination_of_values_is_a_stratum() -> None:
    codes = stratify({"language": np.array(["en", "en", "de", "de"]), "long": np.array([0.0, 1.0, 0.0, 0.0])}, bins=10)
    assert codes[2] == codes[3]
    assert len(set(codes.tolist())) == 3


def test_many_numbers_are_cut_into_parts_of_equal_size() -> None:
    codes = stratify({"confidence": np.random.default_rng(0).random(1000)}, bins=10)
    assert np.bincount(codes).tolist() == [100] * 10


@given(arrays(np.float64, st.integers(1, 80), elements=st.integers(-5, 5).map(float)), st.integers(2, 12))
def test_equal_values_share_a_bin_and_bins_follow_the_order(values: np.ndarray, bins: int) -> None:
    codes = quantile_bins(values, bins)
    for low in values:
        assert len(set(codes[values == low].tolist())) == 1
    assert (np.diff(codes[np.argsort(values, kind="stable")]) >= 0).all()
    assert len(set(codes.tolist())) <= bins


def test_a_stratum_with_one_arm_is_dropped_and_counted() -> None:
    support = common_support(np.array([0, 0, 1, 1, 2, 2, 2]), np.array([1, 0, 1, 1, 0, 0, 1], dtype=bool))
    assert support.kept.tolist() == [True, True, False, False, True, True, True]
    assert (support.strata, support.one_armed) == (2, 1)
    assert support.dropped_share == pytest.approx(2 / 7)


@pytest.mark.parametrize("clustered", [False, True])
def test_how_many_rows_get_strata_of_one_arm_by_chance_is_what_drawing_the_arms_shows(clustered: bool) -> None:
    rng = np.random.default_rng(0)
    strata = rng.integers(0, 30, 120)
    cluster = np.arange(120) // 3 if clustered else np.arange(120)
    chance = rng.uniform(0.1, 0.6, cluster.max() + 1)
    seen = []
    for _ in range(2000):
        arm = (rng.random(len(chance)) < chance)[cluster]
        seen.append(int((~common_support(strata, arm).kept).sum()))
    drawn = one_armed_by_chance(strata, chance[cluster], cluster if clustered else None, draws=2000, seed=1)
    assert drawn.mean() == pytest.approx(np.mean(seen), abs=0.15 * np.std(seen))
    assert drawn.std() == pytest.approx(np.std(seen), rel=0.15)


def test_strata_need_a_column() -> None:
    with pytest.raises(InvalidInputError, match="at least one column"):
        stratify({}, bins=10)
