"""The metrics agree with trec_eval itself, through pytrec_eval, on whatever runs and judgements there may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.statistics.ranking import evaluate, ndcg, recall, reciprocal_rank, trec_order

Run = dict[str, dict[str, float]]
Judged = dict[str, dict[str, int]]
Metric = Callable[[Sequence[str], Mapping[str, int], int], float]
MEASURES: list[tuple[str, str, Metric, int]] = [
    ("ndcg_cut.1,5,10,100", "ndcg_cut_1", ndcg, 1),
    ("ndcg_cut.1,5,10,100", "ndcg_cut_5", ndcg, 5),
    ("ndcg_cut.1,5,10,100", "ndcg_cut_10", ndcg, 10),
    ("ndcg_cut.1,5,10,100", "ndcg_cut_100", ndcg, 100),
    ("recall.5,100", "recall_5", recall, 5),
    ("recall.5,100", "recall_100", recall, 100),
    ("recip_rank", "recip_rank", reciprocal_rank, 1_000_000),
]

# Ids whose order as text is not their order as numbers, and that are not all ASCII.
documents = st.integers(0, 150).map(lambda number: f"d{number}" if number % 7 else f"é{number}")
# Few values, so that many documents tie; and values that differ in double precision only.
scores = st.one_of(
    st.integers(-2, 3).map(float),
    st.floats(-100, 100, width=32),
    st.integers(0, 4).map(lambda step: 1.0 + step * 1e-9),
)
# trec_eval reads -2 as its own mark, and pytrec_eval 0.5.11 dies of it.
grades = st.integers(-1, 4)
queries = st.sampled_from(["q1", "q2", "q3", "q10"])
runs: st.SearchStrategy[Run] = st.dictionaries(
    queries, st.dictionaries(documents, scores, min_size=1, max_size=120), min_size=1
)
judgements: st.SearchStrategy[Judged] = st.dictionaries(
    queries, st.dictionaries(documents, grades, min_size=1, max_size=60), min_size=1
)


def _oracle(run: Run, judged: Judged, family: str) -> dict[str, dict[str, float]]:
    import pytrec_eval

    found: dict[str, dict[str, float]] = pytrec_eval.RelevanceEvaluator(judged, {family}).evaluate(run)
    return found


@pytest.mark.parametrize(("family", "name", "metric", "k"), MEASURES, ids=[row[1] for row in MEASURES])
@given(run=runs, judged=judgements)
@settings(max_examples=150, deadline=None)
def test_every_query_scores_as_in_trec_eval(
    family: str, name: str, metric: Metric, k: int, run: Run, judged: Judged
) -> None:
    expected = _oracle(run, judged, family)
    result = evaluate({query: trec_order(of) for query, of in run.items()}, judged, metric, k)
    values = dict(zip(result.queries, result.values, strict=True))
    assert set(expected) == set(values) - set(result.unanswered)
    for query, figures in expected.items():
        assert values[query] == pytest.approx(figures[name], abs=1e-12)
    # trec_eval leaves unanswered queries out of its mean; with its option -c they count 0, as here.
    assert result.mean == pytest.approx(sum(of[name] for of in expected.values()) / len(judged), abs=1e-12)


@given(scores=st.dictionaries(documents, scores, min_size=2, max_size=40))
@settings(max_examples=150, deadline=None)
def test_documents_are_ranked_as_in_trec_eval_ties_and_all(scores: dict[str, float]) -> None:
    """The rank of each document, read off the reciprocal rank when it alone is relevant."""
    expected = {
        document: _oracle({"q": scores}, {"q": {document: 1}}, "recip_rank")["q"]["recip_rank"] for document in scores
    }
    assert {document: 1 / rank for rank, document in enumerate(trec_order(scores), start=1)} == pytest.approx(expected)


@given(run=runs, judged=judgements, cut=st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_a_cut_reciprocal_rank_is_that_of_the_cut_run(run: Run, judged: Judged, cut: int) -> None:
    """trec_eval has no cut for it, so the oracle sees the first documents only, with scores that keep their order."""
    ranked = {query: trec_order(of) for query, of in run.items()}
    short = {query: {document: float(-rank) for rank, document in enumerate(of[:cut])} for query, of in ranked.items()}
    expected = _oracle(short, judged, "recip_rank")
    result = evaluate(ranked, judged, reciprocal_rank, cut)
    values = dict(zip(result.queries, result.values, strict=True))
    assert {query: values[query] for query in expected} == pytest.approx(
        {query: of["recip_rank"] for query, of in expected.items()}
    )
