from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from acgs.governance.citations import EXCERPT_CHARACTERS, MOST_CITATIONS, Citation, Citations, Uncited, excerpt
from acgs.governance.schema import GovernanceRequest


@given(st.text(alphabet=st.sampled_from("ab \n\t"), max_size=3 * EXCERPT_CHARACTERS))
def test_an_excerpt_is_short_and_begins_as_its_text(text: str) -> None:
    line, found = " ".join(text.split()), excerpt(text)
    assert len(found) <= EXCERPT_CHARACTERS
    assert found == line if len(line) <= EXCERPT_CHARACTERS else line.startswith(found.removesuffix(" …"))


def test_an_excerpt_ends_with_a_whole_word() -> None:
    found = excerpt("regulation " * 100)
    assert found.endswith("regulation …")
    assert excerpt("x" * 500) == "x" * (EXCERPT_CHARACTERS - 2) + " …"


def test_a_hit_is_cited_with_its_place_and_score() -> None:
    hit = {"rank": 1, "id": "art_5", "title": "Prohibited practices", "text": "one\n two", "score": 0.5}
    assert Citation.of(hit).model_dump() == {
        "rank": 1, "id": "art_5", "title": "Prohibited practices", "excerpt": "one two", "score": 0.5,
    }  # fmt: skip


def test_the_status_tells_an_answered_search_from_one_that_was_not() -> None:
    citations: TypeAdapter[Citations] = TypeAdapter(Citations)
    assert citations.validate_python({"status": "unavailable", "reason": "no index"}) == Uncited(reason="no index")
    for unclear in ({"status": "unavailable", "passages": []}, {"status": "found"}, {"passages": []}):
        with pytest.raises(ValidationError):
            citations.validate_python(unclear)


@pytest.mark.parametrize("count", [-1, MOST_CITATIONS + 1, 1.5, "many", None])
def test_a_request_asks_for_no_more_than_a_few(count: object) -> None:
    with pytest.raises(ValidationError, match="citations"):
        GovernanceRequest.model_validate({"query": "hello", "citations": count})
    assert GovernanceRequest(query="hello").citations == 0
