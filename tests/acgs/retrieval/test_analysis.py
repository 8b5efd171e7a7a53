from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.retrieval.analysis import pairs, terms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("HTTPServer", ["http", "server", "httpserver"]),
        ("read_line2", ["read", "line", "2", "read_line2"]),
        ("getUserName()", ["get", "user", "name", "getusernam"]),
        ("supervises supervision", ["supervis", "supervis"]),
        ("Überprüfung naïve", ["überprüfung", "naïv"]),
        ("article12 §5", ["articl", "12", "article12", "5"]),
    ],
)
def test_identifiers_are_cut_and_words_of_any_alphabet_stay_whole(text: str, found: list[str]) -> None:
    assert terms(text) == found


def test_stop_words_are_left_out() -> None:
    assert terms("The bank of the river") == ["bank", "river"]
    assert terms("it is in the and of") == []


def test_composed_and_decomposed_letters_are_the_same_term() -> None:
    assert terms(unicodedata.normalize("NFD", "café")) == terms("café")


@given(st.text(max_size=200))
def test_any_text_gives_terms_that_are_lower_case_and_not_empty(text: str) -> None:
    found = terms(text)
    assert all(found)
    assert found == terms(text)
    assert all(not word.isascii() or word == word.lower() for word in found)
    assert len(pairs(found)) == max(0, len(found) - 1)


def test_pairs_are_neighbours_in_their_order() -> None:
    assert pairs(["a", "b", "c"]) == ["a b", "b c"]
    assert pairs(["a"]) == []
