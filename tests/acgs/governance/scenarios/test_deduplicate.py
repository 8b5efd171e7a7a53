from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from acgs.governance.scenarios.deduplicate import fold_of, without_near_duplicates
from acgs.governance.scenarios.example import TextExample

LONG = "the quick brown fox jumps over the lazy dog and then runs through the dark green forest to its warm den"


def _example(text: str, *breaches: str) -> TextExample:
    return TextExample.of(text, breaches, group=text)


def test_a_copy_with_other_case_and_marks_is_dropped() -> None:
    first, second = _example(LONG), _example(LONG.upper() + "!!")
    assert without_near_duplicates([first, second]) == [first]


def test_a_text_that_differs_in_the_verdict_is_kept() -> None:
    pair = [_example(LONG), _example(LONG, "rule_of_law")]
    assert without_near_duplicates(pair) == pair


def test_different_texts_are_kept_in_their_order() -> None:
    texts = [_example(LONG), _example("how do I bake bread"), _example("what is the capital of France")]
    assert without_near_duplicates(texts) == texts


def test_short_texts_are_compared_whole() -> None:
    texts = [_example("hello"), _example("Hello"), _example("goodbye"), _example("hello there")]
    assert [example.text for example in without_near_duplicates(texts)] == ["hello", "goodbye", "hello there"]


@given(st.text(), st.integers(1, 20))
def test_a_group_always_falls_into_the_same_fold(group: str, folds: int) -> None:
    assert 0 <= fold_of(group, folds) < folds
    assert fold_of(group, folds) == fold_of(group, folds)


def test_folds_are_of_about_equal_size_and_fixed_for_good() -> None:
    sizes = Counter(fold_of(f"group-{number}", 5) for number in range(10_000))
    assert min(sizes.values()) > 1800
    assert [fold_of(name, 5) for name in ("killing/violate/0", "override/comply_text/3", "g1")] == [4, 1, 2]
