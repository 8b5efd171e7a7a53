from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from acgs.learning.data.sentences import content_words, sentence_spans, sentences


@given(st.text("ab .!?\n\"')", max_size=60))
def test_the_spans_cover_everything_but_space(text: str) -> None:
    spans = sentence_spans(text)
    covered = {place for start, end in spans for place in range(start, end)}
    assert all(place in covered for place, sign in enumerate(text) if not sign.isspace())
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_marks_and_line_ends_end_a_sentence_and_a_decimal_point_does_not() -> None:
    text = 'It costs 3.5 euros. "Really?"\n- one item\n- two items! End'
    assert sentences(text) == ["It costs 3.5 euros.", '"Really?"', "- one item", "- two items!", "End"]


def test_content_words_leave_stop_words_out() -> None:
    assert content_words("The dog and the Dog ran.") == {"dog": 2, "ran": 1}
