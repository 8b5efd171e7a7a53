from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.governance.forest import Floats, Forest
from acgs.governance.insights import Flip, explain, smallest_flip
from acgs.statistics.conformal import Band
from tests.acgs.governance.synthetic import random_trees

FEATURES = 4
NAMES = [f"feature{number}" for number in range(FEATURES)]
BAND = Band(violate_from=0.55, comply_to=0.45)


def verdicts(scores: Floats) -> list[str]:
    return [BAND.decide(float(score)) for score in scores]


def score_of(forest: Forest, row: Floats) -> float:
    return float(forest.scores(row[None, :])[0])


def forest_of(seed: int) -> Forest:
    return Forest(random_trees(random.Random(seed), trees=4, features=FEATURES), np.ones(4), NAMES)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0, 1), min_size=FEATURES, max_size=FEATURES))
def test_the_smallest_flip_flips_and_nothing_smaller_does(seed: int, values: list[float]) -> None:
    forest, row = forest_of(seed), np.array(values)
    verdict = verdicts(forest.scores(row[None, :]))[0]
    flip = smallest_flip(forest, row, score_of(forest, row), BAND, principles=FEATURES)
    if flip is not None:
        changed = row.copy()
        changed[NAMES.index(flip.principle)] = flip.to
        assert verdicts(forest.scores(changed[None, :])) == [flip.verdict]
        assert flip.verdict != verdict
        assert flip.at == row[NAMES.index(flip.principle)]
    distance = abs(flip.to - flip.at) if flip else 1.5
    for column in range(FEATURES):
        grid = np.tile(row, (401, 1))
        grid[:, column] += np.linspace(-distance, distance, 401)
        nearer = grid[np.abs(grid[:, column] - row[column]) < distance]
        assert set(verdicts(forest.scores(nearer))) <= {verdict}


@settings(deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0, 1), min_size=FEATURES, max_size=FEATURES))
def test_principles_are_listed_by_the_size_of_their_push_and_split_by_its_sign(seed: int, values: list[float]) -> None:
    forest, row = forest_of(seed), np.array(values)
    evaluation = forest.evaluate(row)
    insights = explain(forest, row, evaluation, BAND, principles=FEATURES)
    sizes = [abs(value) for value in insights.importance.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert set(insights.harmful) | set(insights.helpful) == set(insights.importance)
    assert all(insights.importance[name] > 0 for name in insights.harmful)
    assert all(insights.importance[name] < 0 for name in insights.helpful)
    total = sum(insights.importance.values())
    assert total == pytest.approx(evaluation.score - forest.base_score, abs=1e-5)


def test_a_verdict_that_no_single_principle_can_change_has_no_flip() -> None:
    forest, row = forest_of(1), np.full(FEATURES, 0.5)
    assert (
        smallest_flip(forest, row, score_of(forest, row), Band(violate_from=2.0, comply_to=1.5), principles=FEATURES)
        is None
    )


@settings(deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0, 1), min_size=FEATURES, max_size=FEATURES))
def test_only_principles_are_changed_to_flip_a_verdict(seed: int, values: list[float]) -> None:
    forest, row = forest_of(seed), np.array(values)
    flip = smallest_flip(forest, row, score_of(forest, row), BAND, principles=2)
    assert flip is None or flip.principle in NAMES[:2]


def test_a_flip_names_where_it_starts_and_where_it_leads() -> None:
    flips = []
    for seed in range(200):
        forest, row = forest_of(seed), np.full(FEATURES, 0.5)
        flips.append(smallest_flip(forest, row, score_of(forest, row), BAND, principles=FEATURES))
    found = [flip for flip in flips if isinstance(flip, Flip)]
    assert len(found) > 50
    assert {flip.verdict for flip in found} == {"comply", "violate", "uncertain"}
