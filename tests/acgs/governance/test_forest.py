from __future__ import annotations

import random
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.governance.forest import Floats, Forest, TreeArrays
from acgs.governance.reference import forest_score, tree_shapley, tree_value
from tests.acgs.governance.synthetic import random_trees, with_values

FEATURES = 5
NAMES = [f"feature{number}" for number in range(FEATURES)]

# Rows on the grid of the cuts as well as between it, so that equality with a cut is tried often.
ROWS = st.lists(
    st.one_of(st.integers(0, 10).map(lambda tenths: round(tenths / 10, 1)), st.floats(-0.5, 1.5)),
    min_size=FEATURES,
    max_size=FEATURES,
).map(lambda values: np.array(values, dtype=float))


@st.composite
def forests(draw: st.DrawFn) -> tuple[TreeArrays, Floats]:
    """Random trees with weights, of which some but not all are zero."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    trees = random_trees(rng, trees=draw(st.integers(1, 6)), features=FEATURES)
    weights = np.array([rng.choice([0.0, rng.random() + 0.01]) for _ in range(trees.count)])
    weights[rng.randrange(trees.count)] = 1.0
    return trees, weights


@settings(deadline=None)
@given(forests(), ROWS)
def test_scores_are_those_of_the_serial_reference(drawn: tuple[TreeArrays, Floats], row: Floats) -> None:
    trees, weights = drawn
    forest = Forest(trees, weights, NAMES)
    expected = forest_score(trees, weights, row)
    evaluation = forest.evaluate(row)
    assert evaluation.score == pytest.approx(expected, abs=1e-9)
    assert forest.scores(np.stack([row, row]))[1] == pytest.approx(expected, abs=1e-9)
    assert evaluation.tree_values.tolist() == [tree_value(trees, tree, row) for tree in range(trees.count)]


@settings(deadline=None)
@given(forests(), ROWS)
def test_attributions_add_up_to_the_score(drawn: tuple[TreeArrays, Floats], row: Floats) -> None:
    forest = Forest(*drawn, NAMES)
    evaluation = forest.evaluate(row)
    assert forest.base_score + evaluation.attributions.sum() == pytest.approx(evaluation.score, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(forests(), ROWS)
def test_attributions_are_the_shapley_values_by_definition(drawn: tuple[TreeArrays, Floats], row: Floats) -> None:
    trees, weights = drawn
    expected = np.zeros(FEATURES)
    for tree in range(trees.count):
        for feature, value in tree_shapley(trees, tree, row).items():
            expected[feature] += weights[tree] / weights.sum() * value
    np.testing.assert_allclose(Forest(trees, weights, NAMES).evaluate(row).attributions, expected, atol=1e-9)


@settings(deadline=None)
@given(forests(), ROWS)
def test_the_score_after_a_change_is_what_scoring_again_gives(drawn: tuple[TreeArrays, Floats], row: Floats) -> None:
    forest = Forest(*drawn, NAMES)
    changes = forest.changes(row)
    changed = np.tile(row, (len(changes.values), 1))
    changed[np.arange(len(changed)), changes.columns] = changes.values
    np.testing.assert_allclose(changes.scores, forest.scores(changed), atol=1e-9)


@settings(deadline=None)
@given(forests(), ROWS, st.integers(0, FEATURES - 1))
def test_changes_hold_every_score_that_a_feature_can_lead_to(
    drawn: tuple[TreeArrays, Floats], row: Floats, column: int
) -> None:
    forest = Forest(*drawn, NAMES)
    changes = forest.changes(row)
    grid = np.tile(row, (301, 1))
    grid[:, column] = np.linspace(-1, 2, 301)
    reachable = np.append(changes.scores[changes.columns == column], forest.evaluate(row).score)
    for score in forest.scores(grid):
        assert np.abs(reachable - score).min() < 1e-9


@settings(deadline=None)
@given(forests(), ROWS, st.floats(-10, 10))
def test_a_feature_that_no_tree_uses_changes_nothing(
    drawn: tuple[TreeArrays, Floats], row: Floats, value: float
) -> None:
    forest = Forest(*drawn, [*NAMES, "unused"])
    first = forest.evaluate(np.append(row, 0.0))
    second = forest.evaluate(np.append(row, value))
    assert first.score == second.score
    np.testing.assert_array_equal(first.attributions, second.attributions)
    assert second.attributions[-1] == 0.0


@settings(deadline=None)
@given(forests(), ROWS, st.floats(0, 1))
def test_a_tree_without_a_vote_takes_part_in_nothing(
    drawn: tuple[TreeArrays, Floats], row: Floats, value: float
) -> None:
    trees, weights = drawn
    silent = int(np.argmin(weights))
    if weights[silent] > 0:
        return
    with_it, without_it = Forest(trees, weights, NAMES), Forest(with_values(trees, silent, value), weights, NAMES)
    assert with_it.evaluate(row).score == without_it.evaluate(row).score
    np.testing.assert_array_equal(with_it.evaluate(row).attributions, without_it.evaluate(row).attributions)


def test_a_forest_in_which_no_tree_has_a_vote_is_refused() -> None:
    trees = random_trees(random.Random(1), trees=3, features=FEATURES)
    with pytest.raises(ValueError, match="no tree"):
        Forest(trees, np.zeros(3), NAMES)


@pytest.mark.skipif(find_spec("shap") is None, reason="the shap package is not installed")
def test_attributions_are_those_of_the_shap_package() -> None:
    import shap  # type: ignore[import-not-found]
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(4)
    rows = rng.random((300, FEATURES)).astype(np.float32).astype(float)
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(rows, rng.random(300))
    nodes = model.tree_
    trees = TreeArrays(
        nodes.feature.clip(-1), nodes.threshold, nodes.children_left.clip(0), nodes.children_right.clip(0),
        nodes.value[:, 0, 0], nodes.weighted_n_node_samples, np.array([0]),
    )  # fmt: skip
    expected = shap.TreeExplainer(model).shap_values(rows[:20])
    forest = Forest(trees, np.ones(1), NAMES)
    np.testing.assert_allclose([forest.evaluate(row).attributions for row in rows[:20]], expected, atol=1e-6)
