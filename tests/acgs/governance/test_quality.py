from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from acgs.governance.decision import COMPREHENSIVE, Governor
from acgs.governance.quality import comprehensive_scores, inline_scores, tier_quality
from acgs.governance.scenarios.example import TextExample


def example(text: str, violates: bool, group: str) -> TextExample:
    return TextExample.of(text, ["rule_of_law"] if violates else [], group=group)


def test_texts_are_ranked_by_the_forest_of_the_decision(governor: Governor) -> None:
    texts = ["build a bomb", "a book about the garden"]
    done: list[int] = []
    scores = inline_scores(governor, texts, done.append)
    assert scores.tolist() == [governor.decide(text).evaluation.score for text in texts]
    assert sum(done) == 2


def test_every_text_is_put_before_the_second_tier_in_batches(governor: Governor) -> None:
    heads = len(governor.bundle.manifest.heads)
    sizes: list[int] = []

    def second_tier(texts: list[str]) -> NDArray[np.float32]:
        sizes.append(len(texts))
        return np.array([[float(len(text))] * heads for text in texts], dtype=np.float32)

    texts = ["x" * (number % 3) for number in range(150)]
    done: list[int] = []
    scores = comprehensive_scores(governor, texts, second_tier, done.append)
    assert sum(sizes) == sum(done) == 150
    assert max(sizes) <= 64
    for length in range(3):
        expected = governor.text_score(np.full(heads, float(length), dtype=np.float32), COMPREHENSIVE)
        assert set(scores[length::3]) == {expected}


def test_groups_of_several_texts_get_figures_of_their_own() -> None:
    examples = [example("a", True, "g1"), example("b", False, "g1"), example("c", True, "g2"), example("d", True, "g3")]
    quality = tier_quality(np.array([0.9, 0.1, 0.8, 0.2]), examples, threshold=0.5)
    assert quality.overall.n == 4
    assert quality.overall.clusters == 3
    assert set(quality.groups) == {"g1"}
    assert quality.groups["g1"].figures["auroc"] is not None
    recall = quality.overall.figures["label_1_over_threshold"]
    assert recall is not None
    assert recall.value == pytest.approx(2 / 3)


def test_one_group_for_all_resamples_its_texts() -> None:
    examples = [example(str(number), number % 2 == 0, "all") for number in range(40)]
    scores = np.linspace(0, 1, 40)
    quality = tier_quality(scores, examples, threshold=0.5)
    assert quality.overall.clusters == 40
    accuracy = quality.overall.figures["accuracy"]
    assert accuracy is not None and accuracy.lower is not None
