from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError
from acgs.statistics.ranking import (
    evaluate,
    jaccard,
    ndcg,
    rank_biased_overlap,
    recall,
    reciprocal_rank,
    trec_order,
)

JUDGEMENTS = {"d1": 3, "d2": 1, "d3": 0, "d4": 2, "d5": -1, "d9": 1}
SCORES = {"d5": 0.9, "d3": 0.8, "d2": 0.7, "d7": 0.7, "d1": 0.7, "d4": 0.1, "d8": 0.05}


def _synthetic() -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """50 queries with ties, unjudged documents and negative grades; every fourth query has no judgements."""
    run = {f"q{q}": {f"d{i}": ((i * 37 + q * 11) % 23) / 10 for i in range(40) if (i + q) % 3} for q in range(50)}
    qrels = {f"q{q}": {f"d{i}": (7 * i * i + 3 * q) % 5 - 1 for i in range(40) if (i * q + i) % 4} for q in range(50)}
    return run, qrels


def test_one_query_scores_as_in_trec_eval() -> None:
    """pytrec_eval-terrier 0.5.11, RelevanceEvaluator over {q: JUDGEMENTS}, run {q: SCORES}."""
    ranking = trec_order(SCORES)
    assert ranking == ["d5", "d3", "d7", "d2", "d1", "d4", "d8"]
    assert ndcg(ranking, JUDGEMENTS, 3) == 0.0
    assert ndcg(ranking, JUDGEMENTS, 10) == pytest.approx(0.44364628864587347, abs=1e-15)
    assert reciprocal_rank(ranking, JUDGEMENTS) == 0.25
    assert recall(ranking, JUDGEMENTS, 3) == 0.0
    assert recall(ranking, JUDGEMENTS, 100) == 0.75


def test_a_run_scores_as_in_trec_eval() -> None:
    """Means over 38 judged queries by pytrec_eval-terrier 0.5.11: ndcg_cut_10, ndcg_cut_5, recall_10, recip_rank."""
    scores, judgements = _synthetic()
    run = {query: trec_order(of) for query, of in scores.items()}
    for metric, k, expected in (
        (ndcg, 10, 0.3296317514414293),
        (ndcg, 5, 0.3092209557328271),
        (recall, 10, 0.25584795321637427),
        (reciprocal_rank, 1000, 0.5785096224724707),
    ):
        result = evaluate(run, judgements, metric, k)
        assert len(result.queries) == 38
        assert result.mean == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        ({"d10": 1.0, "d9": 1.0}, ["d9", "d10"]),
        ({"é": 1.0, "z": 1.0}, ["é", "z"]),
        # Equal in single precision, which is what trec_eval compares.
        ({"y": 1.00000001, "z": 1.0}, ["z", "y"]),
    ],
)
def test_ties_are_settled_by_document_id_as_in_trec_eval(scores: dict[str, float], order: list[str]) -> None:
    assert trec_order(scores) == order


def test_queries_without_answer_score_0_and_queries_without_judgements_are_named() -> None:
    result = evaluate(
        {"a": ["x"], "b": ["x"], "c": ["x"]}, {"a": {"x": 1}, "b": {}, "d": {"x": 1}, "e": {"x": 0}}, ndcg, 10
    )
    assert dict(zip(result.queries, result.values, strict=True)) == {"a": 1.0, "d": 0.0, "e": 0.0}
    assert result.unanswered == ("d", "e")
    assert result.unjudged == ("b", "c")
    assert result.mean == pytest.approx(1 / 3)


documents = st.lists(st.integers(0, 30).map(str), unique=True, min_size=1, max_size=20)


@given(documents, st.dictionaries(st.integers(0, 30).map(str), st.integers(-1, 3), min_size=1), st.integers(1, 15))
def test_scores_lie_within_0_and_1_and_the_ideal_order_scores_highest(
    ranking: list[str], judgements: dict[str, int], k: int
) -> None:
    for metric in (ndcg, recall, reciprocal_rank):
        assert 0 <= metric(ranking, judgements, k) <= 1 + 1e-12
    ideal = sorted(judgements, key=lambda document: -judgements[document])
    if max(judgements.values()) > 0:
        assert ndcg(ideal, judgements, k) == pytest.approx(1.0)


def test_overlap_is_that_of_the_rbo_package() -> None:
    """rbo 0.1.3: RankingSimilarity(a, b).rbo_ext(p)."""
    assert rank_biased_overlap("abcdefghij", "bacdfeghkl", 0.9) == pytest.approx(0.8046109332, abs=1e-10)
    assert rank_biased_overlap("abcde", "abxyzcdefg", 0.8) == pytest.approx(0.7534544262095239, abs=1e-10)
    assert rank_biased_overlap("abxyzcdefg", "abcde", 0.8) == pytest.approx(0.7534544262095239, abs=1e-10)


@given(documents, documents, st.floats(0.05, 0.95))
def test_agreement_is_symmetric_whole_with_itself_and_none_between_strangers(
    first: list[str], second: list[str], p: float
) -> None:
    assert rank_biased_overlap(first, second, p) == pytest.approx(rank_biased_overlap(second, first, p))
    assert 0 <= rank_biased_overlap(first, second, p) <= 1 + 1e-9
    assert rank_biased_overlap(first, first, p) == pytest.approx(1.0)
    assert rank_biased_overlap(first, [f"other {name}" for name in second], p) == 0.0
    assert jaccard(first, second) == jaccard(second, first)
    assert jaccard(first, first) == 1.0


@pytest.mark.parametrize(("swapped", "expected"), [(0, 1.0), (1, 9 / 11), (2, 8 / 12), (3, 7 / 13)])
def test_jaccard_at_10_takes_the_values_that_swaps_allow(swapped: int, expected: float) -> None:
    first = [f"d{n}" for n in range(20)]
    second = first[: 10 - swapped] + [f"new{n}" for n in range(10)]
    assert jaccard(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [ndcg, recall, reciprocal_rank])
def test_a_query_without_judgements_has_no_score(metric: object) -> None:
    with pytest.raises(InsufficientDataError, match="no relevance judgements"):
        metric(["a"], {}, 10)  # type: ignore[operator]


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="twice"):
        ndcg(["a", "b", "a"], {"a": 1})
    with pytest.raises(InvalidInputError, match="twice"):
        rank_biased_overlap(["a", "a"], ["a", "b", "c"])
    with pytest.raises(InvalidInputError, match="k must be"):
        recall(["a"], {"a": 1}, 0)
    with pytest.raises(InvalidInputError, match="not a number"):
        trec_order({"a": float("nan"), "b": 1.0})
    with pytest.raises(InsufficientDataError):
        evaluate({"a": ["x"]}, {"a": {}}, ndcg, 10)
    with pytest.raises(InsufficientDataError):
        jaccard([], [])
    with pytest.raises(InsufficientDataError):
        rank_biased_overlap([], ["a"])
    with pytest.raises(InvalidInputError, match="p must"):
        rank_biased_overlap(["a"], ["a"], 1.0)


def test_an_empty_answer_scores_0() -> None:
    assert [metric([], {"a": 1}, 10) for metric in (ndcg, recall, reciprocal_rank)] == [0.0, 0.0, 0.0]
    assert np.isfinite(ndcg([], {"a": 0}))
