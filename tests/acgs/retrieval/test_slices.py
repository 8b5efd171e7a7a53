from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from acgs.retrieval.slices import GLOBAL, HARD_NL, slice_queries
from tests.acgs.retrieval.corpora import TINY

QUERIES = st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=40), max_size=12)


@given(QUERIES, st.randoms())
def test_slices_depend_on_the_texts_alone(queries: dict[str, str], random: object) -> None:
    shuffled = list(queries.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert slice_queries(dict(shuffled)) == slice_queries(queries)


@given(QUERIES)
def test_every_query_is_in_the_global_slice_and_in_one_half(queries: dict[str, str]) -> None:
    slices = slice_queries(queries)
    if not queries:
        assert slices == {}
        return
    assert slices[GLOBAL] == tuple(sorted(queries))
    assert sorted(slices["short"] + slices["long"]) == sorted(queries)
    assert set(slices[HARD_NL]) <= set(slices["long"])


def test_long_questions_in_plain_words_are_hard() -> None:
    slices = slice_queries(TINY.queries)
    assert "q2" in slices[HARD_NL]
    assert "q4" not in slices[HARD_NL]
    assert "q4" in slices["short"]
