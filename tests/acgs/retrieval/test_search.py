from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import IntegrityError, InvalidInputError
from acgs.retrieval.configuration import FirstStage, Gate, Rerankers, RetrievalConfiguration, Route
from acgs.retrieval.encoders import StaticEncoder
from acgs.retrieval.index import Index
from acgs.retrieval.query_features import NAMES
from acgs.retrieval.rerankers import CHEAP_FEATURES, FULL_FEATURES
from acgs.retrieval.search import MAX_QUERY_CHARACTERS, Plan, Ranking, Searcher
from tests.acgs.retrieval.corpora import TINY, write_static_encoder

GATE = RetrievalConfiguration(gate=Gate(theta_star=0.1, delta=0.05))
QUERIES = st.lists(st.sampled_from(["the", "bank", "physician", "unheard", "river", "é", "?"]), min_size=1).map(
    " ".join
)


class Predicting:
    """A predictor that says one thing of every query, and keeps what it was asked."""

    def __init__(self, gain: float, tau: float = 0.5, spend_ms: float = 8.0) -> None:
        self.plan = Plan(tau, spend_ms, gain)
        self.asked: list[np.ndarray] = []

    def decide(self, features: np.ndarray) -> Plan:
        self.asked.append(features)
        return self.plan


@pytest.fixture(scope="module")
def searcher(index: Index, encoder: StaticEncoder) -> Searcher:
    return Searcher(index, encoder, RetrievalConfiguration())


def _ids(searcher: Searcher, ranking: Ranking) -> list[str]:
    return [searcher.index.documents[int(number)].id for number in ranking.numbers]


class TestRankings:
    @pytest.mark.parametrize("route", [None, *Route])
    def test_a_ranking_holds_each_document_once_with_scores_that_never_rise(
        self, searcher: Searcher, route: Route | None
    ) -> None:
        @settings(max_examples=40, deadline=None)
        @given(QUERIES, st.integers(1, 30))
        def check(query: str, topk: int) -> None:
            found = searcher.search(query, topk=topk, route=route)
            assert len(found.numbers) == len(found.scores) <= min(topk, len(TINY.documents))
            assert len(set(found.numbers.tolist())) == len(found.numbers)
            assert np.isfinite(found.scores).all()
            assert (np.diff(found.scores) <= 0).all()
            again = searcher.search(query, topk=topk, route=route)
            assert again.numbers.tolist() == found.numbers.tolist()
            assert again.scores.tolist() == found.scores.tolist()

        check()

    def test_a_shorter_ranking_is_the_beginning_of_a_longer_one(self, searcher: Searcher) -> None:
        for query in TINY.queries.values():
            longer = searcher.search(query, topk=10).numbers
            assert searcher.search(query, topk=3).numbers.tolist() == longer[:3].tolist()

    def test_words_alone_find_only_what_holds_them(self, searcher: Searcher) -> None:
        assert _ids(searcher, searcher.search("river bank", route=Route.LEXICAL))[0] == "d7"
        assert _ids(searcher, searcher.search("tribunal", route=Route.LEXICAL)) == []
        assert _ids(searcher, searcher.search("unheard")) == []

    def test_late_interaction_puts_the_document_that_means_it_first(self, searcher: Searcher) -> None:
        assert _ids(searcher, searcher.search("physician treatment", route=Route.FULL))[0] == "d4"

    def test_the_exact_search_and_the_graph_rank_alike(self, index: Index, encoder: StaticEncoder) -> None:
        exact, graph = (
            Searcher(index, encoder, RetrievalConfiguration(first_stage=FirstStage(exact=chosen)))
            for chosen in (True, False)
        )
        for query in TINY.queries.values():
            assert exact.search(query).numbers.tolist() == graph.search(query).numbers.tolist()

    def test_candidates_beyond_the_depth_follow_in_their_order(self, index: Index, encoder: StaticEncoder) -> None:
        rerankers = Rerankers(
            depth=10,
            cheap={**dict.fromkeys(CHEAP_FEATURES, 0.0), "fused": -1.0},
            full=dict.fromkeys(FULL_FEATURES, 0.0),
        )
        searcher = Searcher(index, encoder, RetrievalConfiguration(rerankers=rerankers))
        fused = searcher.search("river bank", topk=12, route=Route.FUSED).numbers.tolist()
        found = searcher.search("river bank", topk=12, route=Route.CHEAP)
        reranked = found.numbers.tolist()
        assert (np.diff(found.scores) <= 0).all()
        assert len(fused) == 11  # one of twelve has no score in either leg
        assert reranked[10:] == fused[10:]
        assert sorted(reranked[:10]) == sorted(fused[:10])
        assert reranked[:10] != fused[:10]

    def test_threads_that_search_at_once_find_what_one_finds(self, searcher: Searcher) -> None:
        queries = [*TINY.queries.values()] * 5
        alone = [searcher.search(query).numbers.tolist() for query in queries]
        start = threading.Barrier(4)

        def search(_: int) -> list[list[int]]:
            start.wait()
            return [searcher.search(query).numbers.tolist() for query in queries]

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(search, range(4))) == [alone] * 4


class TestRoutes:
    @pytest.mark.parametrize(
        ("gain", "route"), [(0.04, Route.FUSED), (0.06, Route.CHEAP), (0.1, Route.FULL), (0.5, Route.FULL)]
    )
    def test_the_gate_buys_the_route_that_the_gain_is_worth(
        self, gain: float, route: Route, index: Index, encoder: StaticEncoder
    ) -> None:
        predictor = Predicting(gain)
        found = Searcher(index, encoder, GATE, predictor).search("river bank")
        assert (found.route, found.predicted_gain) == (route, gain)
        assert predictor.asked[0].shape == (len(NAMES),)
        assert (found.spent_ms > 0) == (route in (Route.CHEAP, Route.FULL))
        assert found.total_ms >= found.spent_ms

    def test_a_route_that_is_asked_for_is_taken_without_asking_the_router(
        self, index: Index, encoder: StaticEncoder
    ) -> None:
        predictor = Predicting(0.5)
        found = Searcher(index, encoder, GATE, predictor).search("river bank", route=Route.CHEAP)
        assert (found.route, found.predicted_gain, predictor.asked) == (Route.CHEAP, None, [])

    def test_the_routers_share_of_the_dense_leg_replaces_the_configured_one(
        self, index: Index, encoder: StaticEncoder
    ) -> None:
        by_words = Searcher(index, encoder, GATE, Predicting(0.0, tau=0.0)).search("river bank").numbers
        by_sense = Searcher(index, encoder, GATE, Predicting(0.0, tau=1.0)).search("river bank").numbers
        assert by_words.tolist() != by_sense.tolist()

    @pytest.mark.parametrize("spend", ["router", "caller"])
    def test_a_small_budget_leaves_the_later_candidates_where_they_are(
        self, spend: str, index: Index, encoder: StaticEncoder
    ) -> None:
        paid = GATE.rerankers.cheap_ms + 2.5 * GATE.rerankers.candidate_ms
        predictor = Predicting(0.5, spend_ms=paid if spend == "router" else 100.0)
        searcher = Searcher(index, encoder, GATE, predictor)
        found = searcher.search("physician river", topk=12, budget_ms=paid if spend == "caller" else None)
        fused = searcher.search("physician river", topk=12, route=Route.FUSED)
        assert found.numbers[2:].tolist() == fused.numbers[2:].tolist()

    @pytest.mark.parametrize(
        ("part", "route"), [(0.5, Route.FUSED), (1.0, Route.CHEAP), (100.0, Route.FULL)], ids=["half", "cheap", "ample"]
    )
    def test_a_budget_buys_the_dearest_route_that_it_pays_for(
        self, part: float, route: Route, index: Index, encoder: StaticEncoder
    ) -> None:
        searcher = Searcher(index, encoder, GATE, Predicting(0.5, spend_ms=100.0))
        assert searcher.search("river bank", budget_ms=part * GATE.rerankers.cheap_ms).route is route

    def test_a_budget_of_0_searches_by_words_alone(self, index: Index, encoder: StaticEncoder) -> None:
        searcher = Searcher(index, encoder, GATE, Predicting(0.5))
        found = searcher.search("river bank", budget_ms=0)
        assert (found.route, found.predicted_gain, found.spent_ms) == (Route.LEXICAL, None, 0.0)
        assert found.numbers.tolist() == searcher.search("river bank", route=Route.LEXICAL).numbers.tolist()


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "options", "field"),
        [
            ("", {}, "query"),
            (" \n\t", {}, "query"),
            ("river \udcff", {}, "query"),
            ("a" * (MAX_QUERY_CHARACTERS + 1), {}, "query"),
            ("river", {"topk": 0}, "topk"),
            ("river", {"budget_ms": -1.0}, "budget_ms"),
            ("river", {"budget_ms": float("nan")}, "budget_ms"),
        ],
    )
    def test_what_cannot_be_searched_is_refused_by_name(
        self, query: str, options: dict[str, float], field: str, searcher: Searcher
    ) -> None:
        with pytest.raises(InvalidInputError) as refusal:
            searcher.search(query, **options)
        assert refusal.value.field == field

    def test_a_topk_beyond_the_corpus_gives_what_there_is(self, searcher: Searcher) -> None:
        assert len(searcher.search("river bank", topk=10_000).numbers) == len(TINY.documents)

    def test_an_encoder_that_did_not_make_the_index_is_refused(self, index: Index, tmp_path: Path) -> None:
        other = StaticEncoder(write_static_encoder(tmp_path / "static", seed=9))
        with pytest.raises(IntegrityError, match="not the one this index was made with"):
            Searcher(index, other, RetrievalConfiguration())

    def test_a_gate_without_its_router_is_refused(self, index: Index, encoder: StaticEncoder) -> None:
        with pytest.raises(InvalidInputError, match="needs its router"):
            Searcher(index, encoder, GATE)

    def test_a_search_by_words_cannot_be_reranked_by_late_interaction(self, searcher: Searcher) -> None:
        first = searcher.first_pass("river bank", lexical_only=True)
        with pytest.raises(InvalidInputError, match="by words alone"):
            searcher.rerank(first, first.fused, Route.FULL, 10)


def test_a_configured_route_by_words_asks_no_encoder(index: Index, encoder: StaticEncoder) -> None:
    searcher = Searcher(index, encoder, RetrievalConfiguration(route=Route.LEXICAL))
    assert len(searcher.search("tribunal").numbers) == 0
    assert searcher.search("river flood").route is Route.LEXICAL


@pytest.mark.parametrize("budget", [float("inf"), float("nan"), -1.0])
def test_a_budget_that_is_no_amount_is_refused(searcher: Searcher, budget: float) -> None:
    with pytest.raises(InvalidInputError) as caught:
        searcher.search("river", budget_ms=budget)
    assert caught.value.field == "budget_ms"


def test_a_budget_for_less_than_two_candidates_reranks_nothing(searcher: Searcher) -> None:
    ranking = searcher.search("river flood", budget_ms=0.001)
    assert (ranking.route, ranking.spent_ms) == (Route.FUSED, 0.0)
