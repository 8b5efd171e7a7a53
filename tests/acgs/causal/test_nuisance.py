from __future__ import annotations

import numpy as np
import pytest

from acgs.causal.nuisance import cross_fit, features, folds_of, regress


def test_texts_become_columns_of_their_own_and_numbers_stay() -> None:
    x, names = features({"age": np.array([1.0, 2.0, 3.0]), "sex": np.array(["m", "f", "m"])}, 3)
    assert names == ("age", "sex=m")
    assert x.tolist() == [[1, 1], [2, 0], [3, 1]]
    three, names = features({"land": np.array(["a", "b", "c"])}, 3)
    assert names == ("land=a", "land=b", "land=c")
    assert three.tolist() == np.eye(3).tolist()
    assert features({}, 3)[0].shape == (3, 0)


def test_folds_spread_the_arms_evenly_and_keep_clusters_whole() -> None:
    arm = np.repeat([0, 1], [80, 20])
    fold = folds_of(arm, None, 5, seed=0)
    assert np.bincount(fold[arm == 1]).tolist() == [4] * 5
    assert np.bincount(fold[arm == 0]).tolist() == [16] * 5
    cluster = np.repeat(np.arange(25), 4)
    fold = folds_of(arm, cluster, 5, seed=0)
    assert all(len(set(fold[cluster == member].tolist())) == 1 for member in range(25))
    assert np.bincount(fold).tolist() == [20] * 5


def test_covariates_that_do_not_vary_where_it_is_learned_teach_the_constant() -> None:
    rng = np.random.default_rng(0)
    treated = np.arange(200) % 2 == 1
    x, fold = treated[:, None].astype(float), folds_of(treated.astype(np.int64), None, 5, seed=0)
    for column in (x, x * 0, x + 1e-300):
        found = cross_fit(column, rng.standard_normal(200), treated, fold)
        assert np.isfinite([found.treatment, found.without, found.treated]).all()
        assert np.ptp(found.without[fold == 0]) == 0


def test_no_row_is_predicted_from_the_rows_of_its_own_fold() -> None:
    """Outcomes of one fold are set to nonsense: what is learned for that fold moves only with the blend's weights."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(100)
    fold = np.arange(100) % 2
    nothing = np.empty((100, 0))
    spoilt = np.where(fold == 0, 1e6, values)
    assert regress(nothing, spoilt, fold)[fold == 0] == pytest.approx(values[fold == 1].mean())


def test_the_blend_learns_lines_and_steps_better_than_a_constant() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 4))
    truth = 2 * x[:, 0] + 3 * (x[:, 1] > 0) * (x[:, 2] > 0)
    values = truth + 0.5 * rng.standard_normal(600)
    found = regress(x, values, folds_of(np.zeros(600, int), None, 3, seed=0))
    assert ((found - truth) ** 2).mean() < 0.15 * truth.var()


def test_pure_noise_is_left_alone() -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal(400)
    found = regress(rng.standard_normal((400, 5)), values, folds_of(np.zeros(400, int), None, 4, seed=0))
    assert found.var() < 0.1


def test_logged_probabilities_are_used_as_they_are_and_learned_ones_stay_inside_the_unit_interval() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 1))
    treated = x[:, 0] > 0
    fold = folds_of(treated.astype(int), None, 3, seed=0)
    logged = np.full(300, 0.5)
    assert cross_fit(x, x[:, 0], treated, fold, propensity=logged).treatment is logged
    learned = cross_fit(x, x[:, 0], treated, fold).treatment
    assert (learned > 0).all()
    assert (learned < 1).all()
    assert learned[treated].mean() > 0.9
