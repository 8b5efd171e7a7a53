"""Outcomes are counted per version and handed over in windows that lose nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.serving.routing import Slot
from acgs.serving.windows import MAX_LATENCIES, MAX_UNWRITTEN, Outcomes, agree

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_each_version_has_a_window_of_its_own_and_the_next_starts_where_it_ends() -> None:
    now = [100.0]
    outcomes = Outcomes("r1", clock=lambda: now[0])
    outcomes.answered("m", "1.0.0", Slot.BLUE, 0.5)
    outcomes.failed("m", "1.0.0", Slot.BLUE)
    outcomes.answered("m", "2.0.0", Slot.GREEN, 0.25)
    now[0] = 101.5
    blue, green = outcomes.take()
    assert (blue.requests, blue.errors, blue.latencies, blue.started, blue.seconds) == (2, 1, (0.5,), 100.0, 1.5)
    assert (green.requests, green.slot) == (1, Slot.GREEN)
    assert outcomes.take() == []
    outcomes.failed("m", "1.0.0", Slot.BLUE)
    assert outcomes.take()[0].started == 101.5


def test_the_sample_of_latencies_is_bounded_and_drawn_from_the_whole_window() -> None:
    outcomes = Outcomes("r1", seed=3)
    for number in range(10 * MAX_LATENCIES):
        outcomes.answered("m", "1.0.0", Slot.BLUE, float(number))
    window = outcomes.take()[0]
    assert (window.requests, len(window.latencies)) == (10 * MAX_LATENCIES, MAX_LATENCIES)
    late = sum(seconds >= 5 * MAX_LATENCIES for seconds in window.latencies)
    assert MAX_LATENCIES * 0.3 < late < MAX_LATENCIES * 0.7


def test_windows_that_could_not_be_written_are_offered_again_up_to_a_bound() -> None:
    outcomes = Outcomes("r1")
    outcomes.answered("m", "1.0.0", Slot.BLUE, 0.5)
    first = outcomes.take()
    outcomes.put_back(first)
    outcomes.failed("m", "1.0.0", Slot.BLUE)
    assert outcomes.take()[:1] == first
    outcomes.put_back(first * (MAX_UNWRITTEN + 10))
    assert len(outcomes.take()) == MAX_UNWRITTEN


@given(JSON)
def test_an_answer_agrees_with_itself(value: Any) -> None:
    assert agree(value, value)


@given(JSON, JSON)
def test_agreement_has_no_direction(left: Any, right: Any) -> None:
    assert agree(left, right) == agree(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 2), (1, True), ("1", 1), ([1], [1, 1]), ({"a": 1}, {"b": 1}), (1.0, 1.001), (None, 0), ([], {})],
)
def test_different_answers_do_not_agree(left: Any, right: Any) -> None:
    assert not agree(left, right)
