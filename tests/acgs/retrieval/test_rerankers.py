from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.retrieval.lexical import build_leg
from acgs.retrieval.rerankers import (
    CHEAP_FEATURES,
    PRIOR,
    QUERY_TERMS,
    ListwiseExample,
    cheap_features,
    learn_weights,
    standardise,
)
from tests.acgs.retrieval.corpora import TINY

NAMES = ("fused", "useful", "useless")


def _examples(count: int, seed: int = 0) -> list[ListwiseExample]:
    """The relevant candidate has the highest second feature; the other two say nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        features = rng.standard_normal((int(rng.integers(3, 12)), 3)).astype(np.float32)
        grades = np.zeros(len(features))
        grades[features[:, 1].argmax()] = rng.integers(1, 4)
        found.append(ListwiseExample(features, grades))
    return found


def _loss(examples: list[ListwiseExample], weights: NDArray[np.float64], shrinkage: float) -> float:
    """ListNet's loss with its pull to the prior, one query at a time."""
    prior = np.array([PRIOR.get(name, 0.0) for name in NAMES])
    total = 0.0
    for item in examples:
        scores = item.features.astype(np.float64) @ weights
        total -= (item.grades / item.grades.sum()) @ (scores - np.log(np.exp(scores).sum()))
    return total / len(examples) + shrinkage * float(((weights - prior) ** 2).sum())


def test_the_feature_that_tells_relevance_gets_the_weight() -> None:
    weights = learn_weights(_examples(80), NAMES, shrinkage=1e-3)
    assert weights[1] > 2
    assert abs(weights[2]) < 0.7
    assert abs(weights[0]) < PRIOR["fused"]


@pytest.mark.parametrize("shrinkage", [0.01, 0.3])
def test_the_weights_are_those_of_least_loss(shrinkage: float) -> None:
    examples = _examples(25)
    weights = learn_weights(examples, NAMES, shrinkage=shrinkage)
    least = _loss(examples, weights, shrinkage)
    for step in np.vstack([np.eye(3), -np.eye(3)]) * 0.01:
        assert _loss(examples, weights + step, shrinkage) > least


def test_strong_shrinkage_keeps_the_first_stages_order() -> None:
    weights = learn_weights(_examples(20), NAMES, shrinkage=1e6)
    assert weights == pytest.approx([PRIOR["fused"], 0, 0], abs=1e-3)


def test_queries_without_a_relevant_candidate_teach_nothing() -> None:
    examples = _examples(20)
    empty = ListwiseExample(np.ones((4, 3), np.float32), np.zeros(4))
    taught = learn_weights(examples, NAMES, shrinkage=0.1)
    assert learn_weights([empty, *examples, empty], NAMES, shrinkage=0.1) == pytest.approx(taught)
    assert learn_weights([empty], NAMES, shrinkage=0.1).tolist() == [PRIOR["fused"], 0, 0]
    assert learn_weights([], NAMES, shrinkage=0.1).tolist() == [PRIOR["fused"], 0, 0]


@pytest.mark.parametrize("shrinkage", [0.0, -1.0])
def test_without_shrinkage_there_is_no_one_answer(shrinkage: float) -> None:
    with pytest.raises(InvalidInputError, match="above 0"):
        learn_weights(_examples(3), NAMES, shrinkage=shrinkage)


@given(arrays(np.float32, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-1000, 1000, width=16)))
def test_standardised_columns_are_centred_finite_and_in_their_order(features: NDArray[np.float32]) -> None:
    scaled = standardise(features)
    assert scaled.dtype == np.float32
    assert np.isfinite(scaled).all()
    assert np.abs(scaled.mean(axis=0)).max() < 0.01
    for before, after in zip(features.T, scaled.T, strict=True):
        assert (np.diff(after[np.argsort(before, kind="stable")]) >= 0).all()


def test_features_say_what_their_names_say() -> None:
    leg = build_leg([document.content for document in TINY.documents], 1.2, 0.75)
    query = leg.analyse("river bank")
    candidates = np.array([0, 6, 7, 8], dtype=np.int32)
    lexical = leg.words.scores(query.words)[candidates]
    fused, dense = np.array([3, 2, 1, 0], np.float32), np.array([0, 3, 2, 1], np.float32)
    table = cheap_features(
        leg, query, candidates, vectors=np.eye(4, dtype=np.float32), fused=fused, lexical=lexical, dense=dense
    )
    found = dict(zip(CHEAP_FEATURES, table.T, strict=True))
    assert table.shape == (4, len(CHEAP_FEATURES))
    assert np.argsort(found["fused"]).tolist() == np.argsort(fused).tolist()
    assert np.argsort(found["dense"]).tolist() == np.argsort(dense).tolist()
    for name in ("lexical", "both", "pairs", "coverage", "cosine", "rare_terms"):
        assert found[name].argmax() == 1, f"{name}: only d7 holds both words, side by side"
    assert found["coverage"][3] == found["coverage"].min()


def test_a_query_without_known_words_has_features_too() -> None:
    leg = build_leg([document.content for document in TINY.documents], 1.2, 0.75)
    nothing = np.zeros(2, np.float32)
    query, candidates = leg.analyse("unheard"), np.array([0, 11], np.int32)
    alike = np.ones((2, 1), np.float32)
    table = cheap_features(leg, query, candidates, vectors=alike, fused=nothing, lexical=nothing, dense=nothing)
    assert np.isfinite(table).all()
    assert not standardise(table).any()


def test_of_a_long_query_the_rarest_terms_count() -> None:
    documents = [document.content for document in TINY.documents]
    common, rare = " ".join(f"word{number}" for number in range(QUERY_TERMS)), "needle"
    leg = build_leg([common, common, common, f"{common} {rare}", *documents], 1.2, 0.75)
    query, candidates = leg.analyse(f"{common} {rare}"), np.array([0, 3], np.int32)
    lexical = leg.words.scores(query.words)[candidates]
    table = cheap_features(
        leg, query, candidates, vectors=np.eye(2, dtype=np.float32), fused=lexical, lexical=lexical, dense=lexical
    )
    found = dict(zip(CHEAP_FEATURES, table.T, strict=True))
    assert found["coverage"][1] == pytest.approx(1.0)
    assert found["coverage"][0] < 1
