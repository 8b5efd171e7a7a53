from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.learning.data.duplicates import without_duplicates
from acgs.learning.data.records import Record
from acgs.learning.data.splits import assign_splits, parse_shares

THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}
_WORDS = ("one", "two", "three", "four", "five", "six")
_names = st.none() | st.sampled_from("abcdefgh")


def _record(number: int, user: str | None = None, group: str | None = None, text: str = "x") -> Record:
    return Record(id=str(number), text=text, source="test", user=user, group=group)


@given(st.lists(st.tuples(_names, _names), min_size=1, max_size=40), st.integers(0, 99))
def test_no_user_and_no_group_is_on_two_sides(pairs: list[tuple[str | None, str | None]], seed: int) -> None:
    records = [_record(number, *pair) for number, pair in enumerate(pairs)]
    try:
        names = assign_splits([record.keys for record in records], THREE, seed)
    except InvalidInputError:
        return
    sides: dict[str, set[str]] = defaultdict(set)
    for record, name in zip(records, names, strict=True):
        for key in record.keys:
            sides[key].add(name)
    assert all(len(found) == 1 for found in sides.values())
    assert set(names) == set(THREE)


def test_rows_tied_by_a_user_and_then_by_a_group_stay_together() -> None:
    chain = [_record(0, "a", "x"), _record(1, "b", "x"), _record(2, "b", "y"), *map(_record, range(3, 30))]
    assert len(set(assign_splits([record.keys for record in chain], THREE, 4)[:3])) == 1


def test_shares_are_met_and_the_seed_decides() -> None:
    keys = [_record(number).keys for number in range(1000)]
    names = assign_splits(keys, THREE, 1)
    assert [names.count(name) for name in THREE] == [800, 100, 100]
    assert assign_splits(keys, THREE, 1) == names != assign_splits(keys, THREE, 2)


def test_fewer_groups_than_splits_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="no group may be on two sides"):
        assign_splits([_record(number, "one").keys for number in range(9)], THREE, 0)


@pytest.mark.parametrize("text", ["0.8", "0.8/0.1", "1/0", "a/b", "0.7/0.1/0.1/0.1", "", "nan/1"])
def test_shares_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_shares(text)


def test_two_shares_are_train_and_test() -> None:
    assert parse_shares("0.9/0.1") == {"train": 0.9, "test": 0.1}


@given(
    st.lists(
        st.lists(st.sampled_from(["one", "two", "three", "four", "five", "six"]), min_size=1, max_size=12), max_size=25
    )
)
def test_dropping_duplicates_twice_changes_nothing(texts: list[list[str]]) -> None:
    records = [_record(number, text=" ".join(words)) for number, words in enumerate(texts)]
    once = without_duplicates(records)
    assert without_duplicates(once) == once
    assert len({record.text for record in once}) == len(once)


def test_a_near_copy_goes_and_one_that_breaches_stays() -> None:
    text = "the quick brown fox jumps over the lazy dog near the river bank today"
    copy, other = _record(1, text=f"{text} again"), _record(2, text=text).model_copy(update={"principles": ("p",)})
    assert without_duplicates([_record(0, text=text), copy, other]) == [_record(0, text=text), other]
