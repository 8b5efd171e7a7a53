from __future__ import annotations

import numpy as np
import pytest

from acgs.causal.estimators import (
    Estimand,
    Estimate,
    aipw,
    arm_weights,
    from_influence,
    snips,
    stratified_difference,
    two_sided_p,
)
from acgs.causal.nuisance import Nuisances
from acgs.statistics.evidence import InsufficientDataError


def _log(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, its probability of treatment, the treated, and an outcome with an effect of 1 + x/2."""
    x = rng.standard_normal(n)
    chance = 1 / (1 + np.exp(-0.7 * x))
    treated = rng.random(n) < chance
    return x, chance, treated, 2 * x + (1 + x / 2) * treated + rng.standard_normal(n)


def _covers(estimates: list[Estimate], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in (item.interval(0.95) for item in estimates)]))


@pytest.mark.parametrize(("estimand", "truth"), [("ate", 1.0), ("att", None)])
def test_intervals_hold_the_truth_as_often_as_they_claim(estimand: Estimand, truth: float | None) -> None:
    """2,000 logs of 400 rows with known nuisances."""
    rng = np.random.default_rng(1)
    if truth is None:
        x, chance, *_rest = _log(rng, 2_000_000)
        truth = float((chance * (1 + x / 2)).sum() / chance.sum())
    doubly, weighted = [], []
    for _ in range(2000):
        x, chance, treated, y = _log(rng, 400)
        known = Nuisances(chance, 2 * x, 2 * x + 1 + x / 2)
        doubly.append(aipw(y, treated, known, estimand=estimand))
        weighted.append(snips(y, treated, arm_weights(chance, treated, estimand)))
    assert np.mean([item.value for item in doubly]) == pytest.approx(truth, abs=0.01)
    assert np.mean([item.value for item in weighted]) == pytest.approx(truth, abs=0.03)
    assert _covers(doubly, truth) == pytest.approx(0.95, abs=0.015)
    assert _covers(weighted, truth) > 0.92


def test_one_of_the_two_models_may_be_wrong_but_not_both() -> None:
    rng = np.random.default_rng(2)
    x, chance, treated, y = _log(rng, 100_000)
    half, zero = np.full(len(x), 0.5), np.zeros(len(x))
    for right in (Nuisances(chance, zero, zero), Nuisances(half, 2 * x, 2.5 * x + 1)):
        assert aipw(y, treated, right).value == pytest.approx(1.0, abs=0.05)
    assert aipw(y, treated, Nuisances(half, zero, zero)).value > 1.5


def test_a_difference_within_strata_is_weighted_by_their_rows_and_one_armed_strata_are_left_out() -> None:
    y = np.array([1.0, 3.0, 2.0, 2.0, 5.0, 9.0, 5.0, 7.0, 100.0])
    treated = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1], dtype=bool)
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    assert stratified_difference(y, treated, strata).value == pytest.approx((1.0 + 3.0) / 2)
    with pytest.raises(InsufficientDataError, match="no stratum has both arms"):
        stratified_difference(y, strata == 1, strata)


def test_the_stratified_interval_holds_the_truth_where_strata_differ_in_arms_and_outcomes() -> None:
    """2,000 logs of 300 rows in 6 strata, in some of which few are treated."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        strata = rng.integers(0, 6, 300)
        treated = rng.random(300) < np.array([0.1, 0.3, 0.4, 0.5, 0.6, 0.8])[strata]
        y = 2.0 * strata + 1.5 * treated + rng.standard_normal(300)
        found.append(stratified_difference(y, treated, strata))
    assert np.mean([item.value for item in found]) == pytest.approx(1.5, abs=0.02)
    assert _covers(found, 1.5) == pytest.approx(0.95, abs=0.015)


def test_weighted_means_do_not_depend_on_the_scale_of_the_weights() -> None:
    rng = np.random.default_rng(4)
    _x, chance, treated, y = _log(rng, 300)
    weights = arm_weights(chance, treated, "ate")
    assert snips(y, treated, weights * 7).value == pytest.approx(snips(y, treated, weights).value)
    shifted = snips(y + 100, treated, weights)
    assert shifted.value == pytest.approx(snips(y, treated, weights).value)
    assert shifted.error == pytest.approx(snips(y, treated, weights).error)


def test_rows_that_repeat_within_clusters_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(5)
    once = rng.standard_normal(100)
    alone = from_influence("mean", once, None)
    repeated = from_influence("mean", np.repeat(once, 5), np.repeat(np.arange(100), 5))
    assert repeated.error == pytest.approx(alone.error)
    assert repeated.units == 100
    assert from_influence("mean", np.repeat(once, 5), None).error < 0.5 * alone.error


def test_one_cluster_has_no_interval() -> None:
    with pytest.raises(InsufficientDataError, match="one independent unit"):
        from_influence("mean", np.arange(50.0), np.zeros(50, dtype=int))


def test_the_p_value_is_small_just_when_the_interval_leaves_out_no_effect() -> None:
    assert two_sided_p(Estimate("mean", 0.0, 0.0, 60)) == 1.0
    for value in (0.5, 1.9, 2.1, 4.0):
        estimate = Estimate("mean", value, 1.0, 60)
        low, _high = estimate.interval(0.95)
        assert (two_sided_p(estimate) < 0.05) == (low > 0)
