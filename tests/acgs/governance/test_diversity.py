from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.governance import diversity
from acgs.governance.diversity import GrownForest, grow, smallest_forest
from acgs.governance.forest import MAX_DEPTH, Forest
from acgs.statistics.bounds import wilson_lower
from tests.acgs.governance.synthetic import JudgedForest

BOUND_Z = 1.96


def error_correlations(forest: JudgedForest, grown: GrownForest) -> list[float]:
    """Pearson correlation of two trees' errors over the scenarios that neither saw, where both err at times."""
    values = Forest(grown.trees, np.ones(grown.trees.count), forest.names).tree_values(forest.scenarios.rows)
    wrong = (values >= 0.5) != forest.scenarios.violates[:, None]
    found = []
    for first in range(grown.trees.count):
        for second in range(first):
            shared = grown.out_of_bag[:, first] & grown.out_of_bag[:, second]
            a, b = wrong[shared, first], wrong[shared, second]
            found.append(float(np.corrcoef(a, b)[0, 1]) if a.any() and b.any() else 1.0)
    return found


def regrown(forest: JudgedForest, trees: int, seed: int) -> GrownForest:
    drawn = forest.scenarios
    return grow(
        drawn.rows, drawn.violates, drawn.groups, drawn.weights,
        trees=trees, features_per_tree=round(0.6 * len(forest.names)), seed=seed,
    )  # fmt: skip


def test_a_group_is_wholly_in_a_trees_bootstrap_or_wholly_out_of_it(forest: JudgedForest) -> None:
    groups = forest.scenarios.groups
    for tree in range(forest.grown.trees.count):
        unseen = forest.grown.out_of_bag[:, tree]
        assert not set(groups[unseen]) & set(groups[~unseen])
        # (1 - 1/G)^G of the groups are left out, about 37 %.
        assert 0.25 < unseen.mean() < 0.5


def test_a_tree_learns_nothing_from_what_is_out_of_its_bag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one group alone violates, a tree's root holds violations only if that group was drawn for it."""
    monkeypatch.setattr(diversity, "_CANDIDATES_PER_TREE", 1)  # keep every tree, also those the group was not drawn for
    rng = np.random.default_rng(7)
    groups = np.arange(300) // 5
    grown = grow(
        rng.random((300, 4)), groups == 17, groups, np.ones(300), trees=12, features_per_tree=3, seed=1
    )  # fmt: skip
    drawn = ~grown.out_of_bag[17 * 5]
    assert drawn.any() and not drawn.all()
    np.testing.assert_array_equal(grown.trees.value[grown.trees.roots] > 0, drawn)


def test_each_tree_uses_only_its_share_of_principles_and_is_shallow(forest: JudgedForest) -> None:
    trees = forest.grown.trees
    ends = [*trees.roots[1:], len(trees.feature)]
    sets = []
    for start, end in zip(trees.roots, ends, strict=True):
        used = trees.feature[start:end]
        sets.append(frozenset(used[used >= 0].tolist()))
        assert len(sets[-1]) <= round(0.6 * len(forest.names))
        assert end - start <= 2 ** (MAX_DEPTH + 1) - 1
    assert len(set(sets)) > 1


@pytest.mark.parametrize("seed", range(3))
def test_the_trees_kept_err_less_alike_than_trees_taken_as_they_come(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.random((1200, 8))
    violates = rows @ rng.random(8) + rng.normal(0, 0.4, 1200) > 2.2
    correlations = []
    for candidates_per_tree in (1, 3):
        monkeypatch.setattr(diversity, "_CANDIDATES_PER_TREE", candidates_per_tree)
        grown = grow(
            rows, violates, np.arange(1200) // 3, np.ones(1200), trees=15, features_per_tree=5, seed=seed
        )  # fmt: skip
        correlations.append(grown.mean_error_correlation)
    assert correlations[1] < correlations[0]


def test_the_correlation_reported_is_that_of_the_errors(forest: JudgedForest) -> None:
    assert forest.grown.mean_error_correlation == pytest.approx(np.mean(error_correlations(forest, forest.grown)))


def test_the_same_seed_grows_the_same_forest(forest: JudgedForest) -> None:
    again, other = regrown(forest, 24, seed=3), regrown(forest, 24, seed=4)
    for name in ("feature", "threshold", "value", "roots"):
        np.testing.assert_array_equal(getattr(again.trees, name), getattr(forest.grown.trees, name))
    assert not np.array_equal(other.out_of_bag, forest.grown.out_of_bag)


@given(st.floats(0.01, 0.98))
def test_the_smallest_forest_is_the_first_whose_unanimous_bound_exceeds_the_threshold(threshold: float) -> None:
    size = 1
    while wilson_lower(size, size, BOUND_Z) <= threshold + 1e-12:
        size += 1
    found = smallest_forest(threshold)
    assert found == size or wilson_lower(found, found, BOUND_Z) == pytest.approx(threshold)
