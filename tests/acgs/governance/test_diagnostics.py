from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acgs.governance.diagnostics import out_of_bag_report, out_of_bag_scores, tree_name
from acgs.governance.forest import Forest
from tests.acgs.governance.synthetic import JudgedForest, with_values

THRESHOLD = 0.3


@pytest.mark.parametrize("says", [0.0, 1.0])
def test_a_tree_that_always_says_the_same_is_flagged_and_loses_its_vote(forest: JudgedForest, says: float) -> None:
    trees = with_values(forest.grown.trees, 5, says)
    values = Forest(trees, np.ones(trees.count), forest.names).tree_values(forest.scenarios.rows)
    report = out_of_bag_report(values, forest.grown.out_of_bag, forest.scenarios.violates, threshold=THRESHOLD)
    assert report.errors[5] == 0.5
    assert report.weights[5] == 0.0
    assert tree_name(5) in report.flagged


def test_a_tree_is_judged_on_what_it_never_saw_alone(forest: JudgedForest) -> None:
    """Being wrong about everything it was grown on costs a tree nothing, being wrong out of bag its vote."""
    drawn, unseen = forest.scenarios, forest.grown.out_of_bag
    right = np.repeat(drawn.violates[:, None], unseen.shape[1], axis=1).astype(float)
    wrong_where_seen = np.where(unseen, right, 1 - right)
    report = out_of_bag_report(wrong_where_seen, unseen, drawn.violates, threshold=THRESHOLD)
    assert report.errors.max() == 0.0
    opposite = out_of_bag_report(1 - wrong_where_seen, unseen, drawn.violates, threshold=THRESHOLD)
    assert opposite.errors.min() == 1.0
    assert opposite.weights.sum() == 0.0


def test_errors_are_the_mean_of_both_kinds_of_error() -> None:
    violates = np.array([True, True, False, False, False, False])
    values = np.array([[1.0], [0.0], [0.0], [0.0], [0.0], [1.0]])
    report = out_of_bag_report(values, np.ones((6, 1), dtype=bool), violates, threshold=THRESHOLD + 0.2)
    assert report.errors[0] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert report.weights[0] == pytest.approx(1 - 2 * 0.375)
    assert report.counts.tolist() == [6]


def test_a_tree_without_scenarios_of_both_kinds_out_of_bag_has_no_estimate_and_no_vote() -> None:
    violates = np.array([True, True, False, False])
    unseen = np.array([[True], [True], [False], [False]])
    report = out_of_bag_report(violates[:, None].astype(float), unseen, violates, threshold=THRESHOLD)
    assert report.flagged == ["tree_0"]
    assert report.weights[0] == 0.0


def test_good_trees_keep_a_vote_by_their_margin_over_guessing(forest: JudgedForest) -> None:
    report = forest.report
    assert report.flagged == []
    np.testing.assert_allclose(report.weights, 1 - 2 * report.errors)
    assert len(set(report.weights)) > 1


def test_out_of_bag_scores_use_only_trees_that_never_saw_the_scenario(forest: JudgedForest) -> None:
    grown, weights = forest.grown, forest.report.weights
    values = Forest(grown.trees, weights, forest.names).tree_values(forest.scenarios.rows)
    scores = out_of_bag_scores(values, grown.out_of_bag, weights)
    seen_changed = np.where(grown.out_of_bag, values, 1 - values)
    np.testing.assert_array_equal(out_of_bag_scores(seen_changed, grown.out_of_bag, weights), scores)
    row = int(np.flatnonzero(grown.out_of_bag.any(axis=1))[0])
    unseen = np.flatnonzero(grown.out_of_bag[row])
    assert scores[row] == pytest.approx(np.average(values[row, unseen], weights=weights[unseen]))


def test_a_scenario_that_every_tree_saw_has_no_score() -> None:
    scores = out_of_bag_scores(np.ones((2, 2)), np.array([[False, False], [True, False]]), np.ones(2))
    assert np.isnan(scores[0])
    assert scores[1] == 1.0


def test_flagging_all_trees_leaves_no_forest(forest: JudgedForest) -> None:
    lost = replace(forest.report, weights=np.zeros(forest.grown.trees.count))
    with pytest.raises(ValueError, match="no tree"):
        Forest(forest.grown.trees, lost.weights, forest.names)
