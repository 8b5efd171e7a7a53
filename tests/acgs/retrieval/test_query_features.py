from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.retrieval.configuration import RetrievalConfiguration
from acgs.retrieval.encoders import StaticEncoder
from acgs.retrieval.index import Index
from acgs.retrieval.lexical import LexicalQuery
from acgs.retrieval.query_features import NAMES, query_features
from acgs.retrieval.search import Searcher

QUERIES = st.one_of(
    st.text(min_size=1, max_size=60),
    st.lists(st.sampled_from(["the", "loan", "bank", "physician", "unheard", "🏦", "?"]), min_size=1).map(" ".join),
).filter(str.strip)


def _features(fused: list[float], lexical: list[float], dense: list[float], words: list[int]) -> dict[str, float]:
    first, second, third = (np.array(scores, dtype=np.float32) for scores in (fused, lexical, dense))
    idf = np.array([0.5, 2.0, 4.0], dtype=np.float32)
    query = LexicalQuery(words, [])
    made = query_features(query, 0.7, idf, fused=first, lexical=second, dense=third)
    return dict(zip(NAMES, made, strict=True))


@pytest.fixture(scope="module")
def searcher(index: Index, encoder: StaticEncoder) -> Searcher:
    return Searcher(index, encoder, RetrievalConfiguration())


@pytest.mark.parametrize("lexical_only", [False, True])
def test_any_query_has_finite_features(searcher: Searcher, *, lexical_only: bool) -> None:
    @settings(max_examples=60, deadline=None)
    @given(QUERIES)
    def check(query: str) -> None:
        features = searcher.first_pass(query, lexical_only=lexical_only).features
        assert features.shape == (len(NAMES),)
        assert np.isfinite(features).all()

    check()


def test_entropy_is_1_for_scores_alike_and_falls_as_one_stands_out() -> None:
    def entropy(scores: list[float]) -> float:
        return _features(scores, scores, scores, [0])["entropy"]

    assert entropy([0.5] * 20) == pytest.approx(1)
    assert entropy([1.0] + [0.01] * 19) < entropy([1.0] + [0.5] * 19) < 1


def test_features_say_what_their_names_say() -> None:
    found = _features([0.9, 0.4, 0.1], [3.0, 1.0, 2.0], [0.2, 0.8, 0.1], [1, 2])
    assert found["nl_confidence"] == 0.7
    assert found["nqc"] == pytest.approx(np.std([3, 1, 2]) / 2)
    assert found["clarity"] == pytest.approx(3 - np.log(2))


def test_overlap_counts_only_what_a_leg_found() -> None:
    assert _features([1, 1, 1], [3, 0, 0], [0, 0.5, 0.6], [0])["overlap"] == 0
    assert _features([1, 1, 1], [3, 2, 0], [0, 0.5, 0.6], [0])["overlap"] == pytest.approx(1 / 3)
    assert _features([1, 1, 1], [3, 2, 1], [0.1, 0.5, 0.6], [0])["overlap"] == 1


def test_a_query_that_finds_nothing_has_features_too() -> None:
    found = _features([], [], [], [])
    assert found["entropy"] == 1
    assert found["overlap"] == found["clarity"] == found["nqc"] == 0
