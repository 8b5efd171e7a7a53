from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.errors import InvalidInputError

if TYPE_CHECKING:
    from acgs.learning.finetune.examples import Example

owners = st.lists(st.sampled_from("abcde"), min_size=1, max_size=40)


def rows_of(owners: list[str], pieces: int = 1) -> list[Example]:
    """Record number i belongs to `owners[i]` and made so many rows."""
    from acgs.learning.finetune.examples import Example

    return [
        Example((number, piece), (True, True), record=f"r{number}", user=owner)
        for number, owner in enumerate(owners)
        for piece in range(pieces)
    ]


@given(owners, st.integers(1, 5), st.integers(0, 3))
def test_a_user_gives_as_many_of_his_records_as_the_cap_allows(owners: list[str], cap: int, seed: int) -> None:
    from acgs.learning.finetune.contributions import contributions

    given_rows = contributions(rows_of(owners), cap=cap, seed=seed)
    assert len(given_rows) == len(set(owners))
    for rows in given_rows:
        (user,) = {row.user for row in rows}
        assert len({row.record for row in rows}) == len(rows) == min(cap, owners.count(str(user)))


@given(owners, st.integers(1, 5))
def test_adding_or_removing_a_user_changes_nothing_about_the_others(owners: list[str], cap: int) -> None:
    from acgs.learning.finetune.contributions import contributions

    rows = rows_of(owners)
    without = [row for row in rows if row.user != owners[0]]
    assert contributions(without, cap=cap, seed=7) == [
        user for user in contributions(rows, cap=cap, seed=7) if user[0].user != owners[0]
    ]


def test_the_order_of_the_data_does_not_matter_and_the_seed_does() -> None:
    from acgs.learning.finetune.contributions import contributions

    rows = rows_of(["a"] * 50)
    (chosen,) = contributions(rows, cap=5, seed=1)
    assert contributions(rows[::-1], cap=5, seed=1) == [chosen]
    assert contributions(rows, cap=5, seed=2) != [chosen]


def test_the_rows_of_a_long_record_stay_together() -> None:
    from acgs.learning.finetune.contributions import contributions

    (rows,) = contributions(rows_of(["a"] * 4, pieces=3), cap=2, seed=1)
    assert len(rows) == 6
    assert [row.ids[1] for row in rows] == [0, 1, 2, 0, 1, 2]


def test_a_row_without_a_user_is_refused() -> None:
    from acgs.learning.finetune.contributions import contributions
    from acgs.learning.finetune.examples import Example

    with pytest.raises(InvalidInputError, match="--user-column"):
        contributions([*rows_of(["a"]), Example((1,), (True,), record="r9")], cap=2, seed=1)
