from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acgs.errors import InvalidInputError
from acgs.retrieval.configuration import RetrievalConfiguration, Route
from acgs.retrieval.corpus import Document
from acgs.retrieval.encoders import StaticEncoder
from acgs.retrieval.evaluation import DEPTH, METRICS, as_run, evaluate_searcher, interval, run_queries
from acgs.retrieval.index import Index
from acgs.retrieval.search import Searcher
from acgs.statistics.ranking import ndcg
from tests.acgs.retrieval.corpora import TINY


@pytest.fixture(scope="module")
def searcher(index: Index, encoder: StaticEncoder) -> Searcher:
    return Searcher(index, encoder, RetrievalConfiguration())


def test_queries_without_judgements_are_searched_and_reported_but_not_scored(searcher: Searcher) -> None:
    counts: list[int] = []
    found = evaluate_searcher(searcher, TINY, advance=counts.append)
    assert found.unjudged == ("q6",)
    assert found.judged == 5
    assert sum(counts) == 6
    assert found.slices[0].queries == 5
    assert sum(found.routes.values()) == 6
    assert found.configuration == searcher.configuration.version


def test_metrics_are_those_of_trec_eval(searcher: Searcher) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    run = as_run(searcher, run_queries(searcher, TINY.queries))
    scored = {query: {name: float(-rank) for rank, name in enumerate(names)} for query, names in run.items()}
    oracle = pytrec_eval.RelevanceEvaluator(
        {query: dict(grades) for query, grades in TINY.judgements.items()}, {"ndcg_cut_10", "recall_100"}
    ).evaluate(scored)
    found = evaluate_searcher(searcher, TINY).slices[0].metrics
    for name, key in (("ndcg@10", "ndcg_cut_10"), ("recall@100", "recall_100")):
        assert found[name] == pytest.approx(np.mean([values[key] for values in oracle.values()]))
    assert found["ndcg@10"] > 0.5


def test_a_slice_is_the_mean_over_its_own_queries(searcher: Searcher) -> None:
    found = {item.name: item for item in evaluate_searcher(searcher, TINY, route=Route.LEXICAL).slices}
    run = as_run(searcher, run_queries(searcher, TINY.queries, route=Route.LEXICAL))
    values = {query: ndcg(run[query], TINY.judgements[query], 10) for query in TINY.judgements}
    assert set(found) >= {"global", "hard-NL", "short", "long"}
    assert found["global"].metrics["ndcg@10"] == pytest.approx(np.mean(list(values.values())))
    both = sum(found[name].metrics["ndcg@10"] * found[name].queries for name in ("short", "long"))
    assert both / 5 == pytest.approx(found["global"].metrics["ndcg@10"])


def test_too_few_queries_have_no_interval(searcher: Searcher) -> None:
    found = evaluate_searcher(searcher, TINY)
    assert {found.slices[0].intervals[name] for name in METRICS} == {None}
    assert interval(np.full(50, 0.5), 0) is None


def test_an_interval_holds_the_mean_and_depends_on_the_seed_alone() -> None:
    values = np.random.default_rng(0).random(60)
    low, high = interval(values, 1) or (1.0, 0.0)
    assert low < values.mean() < high
    assert interval(values, 1) == (low, high)


def test_the_dense_leg_finds_what_the_words_do_not(searcher: Searcher) -> None:
    found = {
        route: as_run(searcher, run_queries(searcher, {"q": "tribunal"}, route=route))["q"]
        for route in (Route.LEXICAL, Route.FUSED)
    }
    assert found[Route.LEXICAL] == []
    assert "d6" in found[Route.FUSED][:3]


def test_rankings_are_the_same_each_time_and_no_longer_than_asked(searcher: Searcher) -> None:
    first, again = (as_run(searcher, run_queries(searcher, TINY.queries)) for _ in range(2))
    assert first == again
    assert all(len(names) <= DEPTH for names in first.values())
    assert all(len(ranking.numbers) <= 3 for ranking in run_queries(searcher, TINY.queries, topk=3).values())


def test_a_collection_without_judgements_is_refused(searcher: Searcher) -> None:
    with pytest.raises(InvalidInputError, match="no query has relevance judgements"):
        evaluate_searcher(searcher, replace(TINY, judgements={}))


def test_an_index_of_other_documents_is_refused(searcher: Searcher) -> None:
    with pytest.raises(InvalidInputError, match="not made of this collection"):
        evaluate_searcher(searcher, replace(TINY, documents=(*TINY.documents, Document("d99", "", "new"))))
