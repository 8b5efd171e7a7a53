from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from acgs.retrieval.neighbours import NEIGHBOUR_FEATURES, neighbour_features


def _units(count: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.integers(1, 30), st.integers(0, 1000))
def test_features_are_means_over_the_others_one_by_one(count: int, seed: int) -> None:
    vectors = _units(count, seed)
    scores = np.sort(np.random.default_rng(seed).random(count).astype(np.float32))[::-1]
    found = neighbour_features(vectors, scores)
    assert found.shape == (count, len(NEIGHBOUR_FEATURES))
    for place in range(count):
        others = [other for other in range(count) if other != place]
        likeness = vectors[others] @ vectors[place] if others else np.zeros(0)
        for column, first in enumerate((3, 10)):
            leaders = [index for index, other in enumerate(others) if other < first]
            weights = scores[[others[index] for index in leaders]] if leaders else np.zeros(0)
            expected = likeness[leaders] @ weights / (weights.sum() + 1e-9) if leaders else 0.0
            assert found[place, column] == pytest.approx(expected, abs=1e-4)
        near = np.exp(10 * (likeness - 1))
        expected = near @ scores[others] / (near.sum() + 1e-9) if others else 0.0
        assert found[place, 2] == pytest.approx(expected, abs=1e-3)


def test_a_document_beside_the_leaders_scores_higher_than_one_apart() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    found = neighbour_features(vectors, np.array([3, 2, 1, 1], np.float32))
    assert (found[2] > found[3]).all()


def test_candidates_without_scores_have_features_that_are_numbers() -> None:
    assert np.isfinite(neighbour_features(_units(5, 0), np.zeros(5, np.float32))).all()
