from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.retrieval.analysis import pairs, terms
from acgs.retrieval.lexical import PAIR_B, PAIR_K1, Postings, build_leg, build_postings
from tests.acgs.retrieval.corpora import TINY, made_documents

TEXTS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12), min_size=1, max_size=12)


def _bm25(texts: Sequence[Sequence[str]], query: Sequence[str], k1: float, b: float) -> list[float]:
    """Lucene's BM25, term by term."""
    mean = sum(map(len, texts)) / len(texts)
    found = []
    for text in texts:
        counts, score = Counter(text), 0.0
        for word in query:
            holders = sum(word in other for other in texts)
            if counts[word]:
                idf = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
                score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(text) / mean))
        found.append(score)
    return found


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.lists(st.sampled_from("abcdxyz"), max_size=6), st.sampled_from([(1.2, 0.75), (0.9, 0.4), (2.0, 0.0)]))
def test_scores_are_those_of_bm25_by_hand(
    texts: list[list[str]], query: list[str], options: tuple[float, float]
) -> None:
    postings = build_postings(texts, *options)
    scores = postings.scores(postings.known(query))
    assert scores == pytest.approx(np.array(_bm25(texts, query, *options)), abs=1e-5)


def test_scores_are_those_of_bm25s_on_its_own_index() -> None:
    texts = [terms(document.content) for document in made_documents(300)]
    postings = build_postings(texts, 1.2, 0.75)
    library = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    library.index(texts, show_progress=False)
    for query in (["bank", "river"], ["court"], ["model", "model", "dam"]):
        assert postings.scores(postings.known(query)) == pytest.approx(library.get_scores(query), abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.lists(st.sampled_from("abcdefgh"), max_size=5), st.data())
def test_scores_of_candidates_add_up_to_the_scores_of_all(
    texts: list[list[str]], query: list[str], data: st.DataObject
) -> None:
    postings = build_postings(texts, 1.2, 0.75)
    numbers = postings.known(query)
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), unique=True))
    candidates = np.array(sorted(chosen), dtype=np.int32)
    by_term = postings.of_candidates(numbers, candidates)
    assert by_term.shape == (len(numbers), len(candidates))
    assert by_term.sum(axis=0) == pytest.approx(postings.scores(numbers)[candidates], abs=1e-5)


def test_words_are_numbered_by_rising_keys_and_documents_rise_within_a_word() -> None:
    postings = build_postings([["b", "a"], ["c", "a"], ["a"]], 1.2, 0.75)
    assert (np.diff(postings.keys) > 0).all()
    assert sorted(postings.known(["a", "b", "c"])) == [0, 1, 2]
    held = {word: postings.known([word])[0] for word in "abc"}
    for word, documents in (("a", [0, 1, 2]), ("b", [0]), ("c", [1])):
        begin, end = postings.starts[held[word]], postings.starts[held[word] + 1]
        assert postings.indices[begin:end].tolist() == documents


@given(st.lists(st.text(max_size=5), max_size=8))
def test_only_words_of_the_corpus_are_known_and_repeated_ones_count_again(words: list[str]) -> None:
    postings = build_postings([["", "a", "b"], ["é"]], 1.2, 0.75)
    assert len(postings.known(words)) == sum(word in ("", "a", "b", "é") for word in words)


def test_texts_without_a_single_word_make_postings_that_find_nothing() -> None:
    postings: Postings = build_postings([[], []], 1.2, 0.75)
    assert postings.known(["a"]) == []
    assert postings.scores([]).tolist() == [0, 0]
    assert postings.of_candidates([], np.array([0, 1], np.int32)).shape == (0, 2)


class TestLeg:
    leg = build_leg([document.content for document in TINY.documents], 1.2, 0.75)

    def test_a_query_keeps_the_words_that_the_corpus_knows(self) -> None:
        query = self.leg.analyse("the interest of an unheard loan")
        assert query.words == self.leg.words.known(terms("interest loan"))
        assert len(query.words) == 2
        assert self.leg.analyse("unheard").words == []

    def test_neighbours_tell_a_phrase_from_scattered_words(self) -> None:
        query = self.leg.analyse("river bank")
        scores = self.leg.pairs.scores(query.pairs)
        assert np.flatnonzero(scores).tolist() == [6]

    def test_pairs_saturate_and_are_normalised_by_options_of_their_own(self) -> None:
        texts = [pairs(terms(document.content)) for document in TINY.documents]
        number = self.leg.pairs.known(["river bank"])
        expected = _bm25(texts, ["river bank"], PAIR_K1, PAIR_B)
        assert self.leg.pairs.scores(number) == pytest.approx(np.array(expected), abs=1e-5)

    def test_a_rare_word_has_the_higher_idf(self) -> None:
        rare, common = (self.leg.idf[self.leg.words.known(terms(word))] for word in ("mortgage", "bank"))
        assert rare == pytest.approx(math.log(1 + (12 - 1 + 0.5) / (1 + 0.5)))
        assert common == pytest.approx(math.log(1 + (12 - 3 + 0.5) / (3 + 0.5)))

    def test_a_norm_is_the_length_of_a_documents_scores(self) -> None:
        everything = list(range(len(self.leg.words.keys)))
        by_term = self.leg.words.of_candidates(everything, np.arange(len(TINY.documents), dtype=np.int32))
        assert self.leg.norms == pytest.approx(np.linalg.norm(by_term, axis=0), abs=1e-5)
        assert self.leg.norms[-1] == 0
