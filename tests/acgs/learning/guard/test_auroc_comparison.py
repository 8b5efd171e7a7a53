from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from acgs.learning.guard.auroc_comparison import POOLED, WITHIN, compare

N = 400


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    sources = ["rough"] * (N // 2) + ["mild"] * (N // 2)
    harmful = rng.random(N) < np.where(np.array(sources) == "rough", 0.8, 0.2)
    return harmful, np.arange(N) // 2, sources


def test_values_are_those_of_the_definition(drawn: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    harmful, groups, sources = drawn
    scores = np.random.default_rng(1).normal(size=N) + harmful
    found = compare({"a": scores}, harmful, groups, sources, [], resamples=50).auroc["a"]
    rough = np.array(sources) == "rough"
    within = [roc_auc_score(harmful[rows], scores[rows]) for rows in (rough, ~rough)]
    assert found[POOLED].value == pytest.approx(roc_auc_score(harmful, scores))
    assert found[WITHIN].value == pytest.approx(np.mean(within))
    assert found[POOLED].lower < found[POOLED].value < found[POOLED].upper


def test_knowing_the_source_alone_gains_nothing_within_sources(
    drawn: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    harmful, groups, sources = drawn
    knows = (np.array(sources) == "rough").astype(float)
    found = compare({"a": knows}, harmful, groups, sources, [], resamples=20).auroc["a"]
    assert found[POOLED].value > 0.75
    assert found[WITHIN].value == 0.5


def test_differences_are_paired(drawn: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    harmful, groups, sources = drawn
    scores = np.random.default_rng(1).normal(size=N) + harmful
    found = compare({"a": scores, "b": 2 * scores}, harmful, groups, sources, [("a", "b")], resamples=30)
    assert found.difference["a - b"][POOLED].lower == found.difference["a - b"][POOLED].upper == 0
    assert found.ratio["a / b"][POOLED].value == 1


def test_intervals_widen_where_whole_groups_are_copies(drawn: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    harmful, _, sources = drawn
    scores = np.random.default_rng(1).normal(size=N) + harmful
    copied = [np.repeat(values, 8) for values in (scores, harmful, np.arange(N))]
    named = [source for source in sources for _ in range(8)]
    grouped = compare({"a": copied[0]}, copied[1], copied[2], named, [], resamples=200).auroc["a"][POOLED]
    loose = compare({"a": copied[0]}, copied[1], np.arange(8 * N), named, [], resamples=200).auroc["a"][POOLED]
    assert grouped.upper - grouped.lower > 2 * (loose.upper - loose.lower)


def test_a_source_with_one_label_has_no_figure() -> None:
    harmful = np.array([True] * 10 + [True, False] * 5)
    sources = ["one"] * 10 + ["both"] * 10
    found = compare({"a": np.arange(20.0)}, harmful, np.arange(20), sources, [], resamples=10).auroc["a"]
    assert found["one"] is None
    assert found["both"] is not None
