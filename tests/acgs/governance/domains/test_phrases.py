from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.governance.domains.phrases import PhraseBook, fold

BOOK = PhraseBook({"people": ("human subjects", "patients"), "study": ("study",), "both": ("patients",)})


def test_only_whole_words_count_and_a_phrase_may_have_two_labels() -> None:
    assert BOOK.find(fold("impatients studying")) == []
    assert {hit.label for hit in BOOK.find(fold("Patients!"))} == {"people", "both"}


@pytest.mark.parametrize(
    ("text", "affirmed"),
    [
        ("a study with human subjects", True),
        ("a study with no human subjects", False),
        ("it does not involve any human subjects", False),
        ("without recruiting human subjects", False),
        ("no animals. human subjects only", True),
        ("no animals but human subjects", True),
        ("no human subjects; later human subjects join", True),
    ],
)
def test_a_negation_reaches_the_phrase_it_governs_and_no_further(text: str, affirmed: bool) -> None:
    assert ("people" in BOOK.affirmed(fold(text))) is affirmed


@given(st.text())
def test_folding_never_changes_the_length(text: str) -> None:
    assert len(fold(text)) == len(text)
