from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.retrieval.harvest import (
    Harvest,
    Measured,
    Setting,
    best_setting,
    choose_setting,
    drop_from_page_cache,
    enough_ef,
    pareto_frontier,
)
from acgs.retrieval.vectors import ExactSearch, GraphOptions
from tests.acgs.retrieval.corpora import clustered_vectors

BASELINE = Setting(ef=64, topk=50)


def _measured(recall: float, p95: float) -> Measured:
    times = np.array([p95])
    return Measured(BASELINE, recall, np.array([recall]), times, times, times, times, 0.0, 0, ())


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    return clustered_vectors(2000)


@pytest.fixture(scope="module")
def harvest(vectors: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Harvest:
    return Harvest(vectors, clustered_vectors(30, seed=3), tmp_path_factory.mktemp("harvest"), BASELINE, rounds=2)


def test_a_setting_is_measured_on_every_query_beside_the_baseline(harvest: Harvest) -> None:
    found = harvest.measure(Setting(ef=32, topk=20))
    assert len(found.cold_ms) == len(found.baseline_cold_ms) == 30
    assert len(found.warm_ms) == len(found.baseline_warm_ms) == 60
    assert min(*found.cold_ms, *found.warm_ms, *found.baseline_warm_ms) > 0
    assert found.p95_ms == np.quantile(found.warm_ms, 0.95)
    assert {len(ids) for ids in found.found} == {20}
    assert found.memory_bytes > 2000 * 32 * 2  # the vectors as f16, and links
    assert len(harvest.exact_ms()) == 30


def test_recall_and_jaccard_are_those_against_exact_search(harvest: Harvest, vectors: NDArray[np.float32]) -> None:
    found = harvest.measure(Setting(ef=10, topk=10))
    exact = [set(ExactSearch(vectors).nearest(query, 10)) for query in clustered_vectors(30, seed=3)]
    common = np.array([len(held & set(ids)) for held, ids in zip(exact, found.found, strict=True)])
    assert found.recall == pytest.approx(common.mean() / 10)
    assert found.recall < 1
    assert found.overlaps == pytest.approx(common / (20 - common))
    assert harvest.measure(Setting(ef=256, topk=10)).recall > found.recall


def test_a_graph_is_built_once_for_all_settings_of_its_options(harvest: Harvest) -> None:
    first = harvest.measure(Setting(ef=16, topk=10))
    assert harvest.measure(Setting(ef=24, topk=20)).build_seconds == first.build_seconds
    other = harvest.measure(Setting(graph=GraphOptions(connectivity=4, expansion_add=16), ef=16, topk=10))
    assert other.build_seconds != first.build_seconds
    assert other.recall < first.recall


def test_a_query_that_is_near_to_nothing_misses_nothing(vectors: NDArray[np.float32], tmp_path: Path) -> None:
    queries = np.stack([np.zeros(vectors.shape[1], np.float32), vectors[0]])
    assert Harvest(vectors, queries, tmp_path, BASELINE, rounds=1).measure(BASELINE).recall == 1


def test_a_harvest_without_queries_is_refused(vectors: NDArray[np.float32], tmp_path: Path) -> None:
    for queries in (vectors[:0], vectors[:2, :5]):
        with pytest.raises(InvalidInputError, match="of one width"):
            Harvest(vectors, queries, tmp_path, BASELINE)


def test_a_sign_is_consistent_where_cold_and_warm_agree() -> None:
    slow, fast = np.array([2.0]), np.array([1.0])
    agreeing = replace(_measured(1, 1), cold_ms=fast, warm_ms=fast, baseline_cold_ms=slow, baseline_warm_ms=slow)
    assert agreeing.sign_consistent
    assert not replace(agreeing, baseline_cold_ms=np.array([0.5])).sign_consistent


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(1, 10)), max_size=12))
def test_the_frontier_holds_all_that_nothing_beats_and_no_other(points: list[tuple[int, int]]) -> None:
    frontier = [(item.recall, item.p95_ms) for item in pareto_frontier(_measured(*point) for point in points)]
    unbeaten = {
        (recall, p95)
        for recall, p95 in points
        if not any(r >= recall and p <= p95 and (r, p) != (recall, p95) for r, p in points)
    }
    assert set(frontier) == unbeaten
    assert len(frontier) == len(unbeaten)
    assert [p95 for _, p95 in frontier] == sorted(p95 for _, p95 in frontier)


def test_the_best_setting_is_the_fastest_that_finds_enough() -> None:
    measured = [_measured(0.98, 1.0), _measured(0.995, 3.0), _measured(0.99, 2.0)]
    found = best_setting(measured)
    assert found is not None
    assert found.p95_ms == 2.0
    assert best_setting(measured, least_recall=0.999) is None
    assert best_setting([]) is None


def test_the_choice_keeps_the_usual_topk_and_loses_no_quality_where_it_need_not() -> None:
    settings = {name: Setting(ef=ef, topk=topk) for name, ef, topk in (("a", 60, 50), ("b", 80, 50), ("c", 90, 20))}
    a, b, c = (replace(_measured(1, p95), setting=settings[name]) for name, p95 in (("a", 2), ("b", 3), ("c", 1)))
    lossless = dict.fromkeys(settings.values(), 0.0)
    assert choose_setting([a, b, c], lossless, 50) == a
    assert choose_setting([a, b, c], {**lossless, settings["a"]: -0.01}, 50) == b
    unknown = dict.fromkeys(settings.values(), math.nan)
    assert choose_setting([a, b, c], unknown, 50) == a
    torn = replace(a, cold_ms=np.array([9.0]), baseline_cold_ms=np.array([1.0]), baseline_warm_ms=np.array([4.0]))
    assert choose_setting([torn, b], lossless, 50) == b
    assert choose_setting([c], lossless, 50) is None


def test_a_change_that_is_noise_disagrees_with_nothing() -> None:
    measured = replace(_measured(1, 1), cold_ms=np.array([1.02]), baseline_warm_ms=np.array([1.5]))
    assert measured.sign_consistent
    assert not replace(measured, cold_ms=np.array([1.2])).sign_consistent


class StandIn:
    """An index whose graph finds less than exact search until it looks far enough."""

    def __init__(self, enough: int) -> None:
        self._enough = enough

    def exact(self) -> Any:
        return SimpleNamespace(nearest=lambda _query, k: np.arange(k))

    def graph(self, ef: int) -> Any:
        missed = int(ef < self._enough)
        return SimpleNamespace(nearest=lambda _query, k: np.arange(missed, k + missed))


@pytest.mark.parametrize(("enough", "topk", "found"), [(0, 10, 16), (0, 100, 128), (150, 20, 192), (9999, 20, 256)])
def test_the_graph_is_searched_no_farther_than_recall_needs(enough: int, topk: int, found: int) -> None:
    index: Any = StandIn(enough)
    assert enough_ef(index, [np.ones(4, np.float32)] * 3, topk) == found


def test_a_file_that_was_dropped_from_the_cache_is_still_whole(tmp_path: Path) -> None:
    file = tmp_path / "graph"
    file.write_bytes(b"content" * 10_000)
    drop_from_page_cache(file)
    assert file.read_bytes() == b"content" * 10_000
