from __future__ import annotations

from acgs.retrieval.answers import search_answer
from acgs.retrieval.configuration import RetrievalConfiguration
from acgs.retrieval.encoders import StaticEncoder
from acgs.retrieval.index import Index
from acgs.retrieval.schema import SearchAnswer
from acgs.retrieval.search import Searcher
from tests.acgs.retrieval.corpora import TINY


def test_an_answer_holds_the_passages_and_what_they_were_found_with(index: Index, encoder: StaticEncoder) -> None:
    searcher = Searcher(index, encoder, RetrievalConfiguration())
    answer = search_answer(searcher, searcher.search("loan interest", topk=3))
    texts = {document.id: document for document in TINY.documents}
    assert [hit.rank for hit in answer.results] == [1, 2, 3]
    assert all((hit.title, hit.text) == (texts[hit.id].title, texts[hit.id].text) for hit in answer.results)
    assert answer.route == "full rerank"
    assert answer.configuration == searcher.configuration.version
    assert answer.index == index.manifest.digest
    assert SearchAnswer.model_validate_json(answer.model_dump_json()) == answer


def test_a_search_that_finds_nothing_has_an_answer_too(index: Index, encoder: StaticEncoder) -> None:
    searcher = Searcher(index, encoder, RetrievalConfiguration())
    assert search_answer(searcher, searcher.search("unheard")).results == []
