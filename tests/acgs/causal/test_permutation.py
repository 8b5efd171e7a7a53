from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from acgs.causal.permutation import randomisation_test
from acgs.statistics.evidence import InsufficientDataError


def test_the_p_value_is_that_of_all_ways_to_deal() -> None:
    """Four of eight treated: 70 ways, of which those at least as far apart are counted one by one."""
    values = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0, 5.0])
    treated = np.array([1, 0, 1, 0, 1, 0, 0, 1], dtype=bool)
    seen = abs(values[treated].mean() - values[~treated].mean())
    far = [
        abs(values[list(chosen)].mean() - np.delete(values, chosen).mean()) >= seen - 1e-12
        for chosen in combinations(range(8), 4)
    ]
    found = randomisation_test(values, treated, np.zeros(8, dtype=int), resamples=20_000, seed=1)
    assert found.statistic == pytest.approx(values[treated].mean() - values[~treated].mean())
    assert found.p_value == pytest.approx(np.mean(far), abs=0.01)


def test_without_an_effect_small_p_values_are_as_rare_as_they_claim() -> None:
    """Over 2,000 logs whose arms differ between strata, as their outcomes do."""
    rng = np.random.default_rng(2)
    strata = np.repeat([0, 1, 2], 20)
    p_values = []
    for seed in range(2000):
        treated = rng.random(60) < np.array([0.2, 0.5, 0.8])[strata]
        p_values.append(
            randomisation_test(
                3.0 * strata + rng.exponential(size=60), treated, strata, resamples=99, seed=seed
            ).p_value
        )
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_an_effect_within_strata_is_found_and_one_between_them_is_not() -> None:
    rng = np.random.default_rng(3)
    strata = np.repeat([0, 1], 300)
    treated = rng.random(600) < np.where(strata == 1, 0.8, 0.2)
    between = 5.0 * strata + rng.standard_normal(600)
    assert randomisation_test(between, treated, strata, resamples=999, seed=0).p_value > 0.05
    assert randomisation_test(between, treated, 0 * strata, resamples=999, seed=0).p_value == 0.001
    assert randomisation_test(between + treated, treated, strata, resamples=999, seed=0).p_value == 0.001


def test_strata_with_one_arm_say_nothing() -> None:
    strata = np.array([0, 0, 0, 0, 1, 1])
    treated = np.array([1, 0, 1, 0, 1, 1], dtype=bool)
    values = np.array([2.0, 1.0, 2.0, 1.0, 100.0, 200.0])
    found = randomisation_test(values, treated, strata, resamples=99, seed=0)
    assert (found.statistic, found.strata) == (1.0, 1)
    with pytest.raises(InsufficientDataError, match="no stratum has both arms"):
        randomisation_test(values, strata == 1, strata, resamples=99, seed=0)


def test_the_same_seed_gives_the_same_p_value() -> None:
    rng = np.random.default_rng(4)
    values, treated = rng.standard_normal(100), rng.random(100) < 0.5
    again = [randomisation_test(values, treated, np.zeros(100, int), resamples=199, seed=7).p_value for _ in range(2)]
    assert again[0] == again[1]
