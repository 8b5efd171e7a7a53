from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydantic import ValidationError

from acgs.errors import IntegrityError, InvalidInputError
from acgs.retrieval.vectors import ExactSearch, GraphOptions, GraphSearch, best, build_graph, load_graph
from tests.acgs.retrieval.corpora import clustered_vectors

Singles = NDArray[np.float32]


@pytest.fixture(scope="module")
def vectors() -> Singles:
    return clustered_vectors(3000)


@pytest.fixture(scope="module")
def queries() -> Singles:
    return clustered_vectors(60, seed=1) + clustered_vectors(3000)[:60]


@pytest.fixture(scope="module")
def graph_file(vectors: Singles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "graph.usearch"
    build_graph(vectors, GraphOptions()).save(str(path))
    return path


@given(arrays(np.float32, st.integers(0, 40), elements=st.integers(-3, 3)), st.integers(0, 50))
def test_the_best_are_those_of_a_stable_sort(scores: Singles, k: int) -> None:
    assert best(scores, k).tolist() == np.argsort(-scores, kind="stable")[:k].tolist()


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_score_that_is_no_number_is_refused(place: int, k: int) -> None:
    scores = np.array([1, 1, 0, 1], dtype=np.float32)
    scores[place] = np.nan
    with pytest.raises(InvalidInputError, match="not a number"):
        best(scores, k)


def test_exact_search_is_a_sort_of_all_inner_products(vectors: Singles, queries: Singles) -> None:
    for query in queries:
        order = np.argsort(-(vectors @ query), kind="stable")
        assert ExactSearch(vectors).nearest(query, 25).tolist() == order[:25].tolist()


def test_the_graph_finds_nearly_all_of_the_nearest_and_more_with_a_larger_ef(
    graph_file: Path, vectors: Singles, queries: Singles
) -> None:
    def recall(ef: int) -> float:
        graph = GraphSearch(load_graph(graph_file, *vectors.shape), vectors, ef)
        exact = ExactSearch(vectors)
        return float(np.mean([np.isin(exact.nearest(q, 10), graph.nearest(q, 10)).mean() for q in queries]))

    assert recall(10) < recall(128)
    assert recall(128) >= 0.99


def test_what_the_graph_finds_is_in_the_order_of_exact_scores(
    graph_file: Path, vectors: Singles, queries: Singles
) -> None:
    graph = GraphSearch(load_graph(graph_file, *vectors.shape), vectors, 32)
    for query in queries[:10]:
        scores = vectors[graph.nearest(query, 20)] @ query
        assert (np.diff(scores) <= 0).all()


def test_a_graph_is_the_same_each_time_it_is_built(graph_file: Path, vectors: Singles, tmp_path: Path) -> None:
    build_graph(vectors, GraphOptions()).save(str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == graph_file.read_bytes()


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_a_graph_of_another_precision_finds_most_of_the_nearest(dtype: str, vectors: Singles, queries: Singles) -> None:
    graph = GraphSearch(build_graph(vectors, GraphOptions(dtype=dtype)), vectors, 128)
    found = [np.isin(ExactSearch(vectors).nearest(q, 10), graph.nearest(q, 10)).mean() for q in queries]
    assert np.mean(found) > 0.9


def test_two_searches_over_one_file_keep_their_own_ef(graph_file: Path, vectors: Singles, queries: Singles) -> None:
    low = GraphSearch(load_graph(graph_file, *vectors.shape), vectors, 10)
    before = [low.nearest(query, 10).tolist() for query in queries]
    GraphSearch(load_graph(graph_file, *vectors.shape), vectors, 256)
    assert [low.nearest(query, 10).tolist() for query in queries] == before


def test_threads_that_search_at_once_find_what_one_finds(graph_file: Path, vectors: Singles, queries: Singles) -> None:
    graph = GraphSearch(load_graph(graph_file, *vectors.shape), vectors, 48)
    alone = [graph.nearest(query, 10).tolist() for query in queries]
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(lambda _: [graph.nearest(query, 10).tolist() for query in queries], range(8)):
            assert together == alone


def test_a_topk_beyond_the_corpus_gives_every_document(vectors: Singles) -> None:
    few = vectors[:7]
    graph = GraphSearch(build_graph(few, GraphOptions()), few, 16)
    for search in (graph, ExactSearch(few)):
        assert sorted(search.nearest(few[0], 100).tolist()) == list(range(7))


def test_a_query_without_a_known_word_is_near_to_nothing(graph_file: Path, vectors: Singles) -> None:
    graph = GraphSearch(load_graph(graph_file, *vectors.shape), vectors, 16)
    for search in (graph, ExactSearch(vectors)):
        assert search.nearest(np.zeros(vectors.shape[1], np.float32), 10).tolist() == []


def test_a_query_that_is_no_numbers_is_refused_by_both_searches(vectors: Singles) -> None:
    few = vectors[:50]
    query = np.full(vectors.shape[1], np.nan, np.float32)
    for search in (GraphSearch(build_graph(few, GraphOptions()), few, 16), ExactSearch(few)):
        with pytest.raises(InvalidInputError, match="not a number"):
            search.nearest(query, 10)


def test_a_file_that_is_no_graph_over_these_documents_is_refused(
    graph_file: Path, vectors: Singles, tmp_path: Path
) -> None:
    documents, width = vectors.shape
    with pytest.raises(IntegrityError, match="no graph over these"):
        load_graph(graph_file, documents + 1, width)
    with pytest.raises(IntegrityError, match="no graph over these"):
        load_graph(graph_file, documents, width + 1)
    (tmp_path / "text").write_text("not a graph " * 100)
    for path in (tmp_path / "text", tmp_path / "missing"):
        with pytest.raises(IntegrityError, match="no graph"):
            load_graph(path, documents, width)


@pytest.mark.parametrize("field", [{"connectivity": 1}, {"expansion_add": 0}, {"dtype": "f64"}, {"other": 1}])
def test_graph_options_out_of_range_are_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GraphOptions.model_validate(field)
