from __future__ import annotations

import pytest

from acgs.constitution.document import Constitution
from acgs.errors import InvalidInputError
from acgs.learning.data.records import Message
from acgs.learning.data.sentences import sentences
from acgs.learning.revision.assessment import Case
from acgs.learning.revision.retrieval_edit import RetrievalEditReviser, SentenceCorpus, compliant_sentences
from acgs.learning.revision.reviser import Task

from .conftest import WordJudge, record

CORPUS = ["You can lock your bicycle with a steel chain.", "Tulips like sandy soil.", "Bread rises in a warm place."]
RESPONSE = "Ride every day.  A bad person steals a bicycle with a cutter.\nWear a helmet."


def _revise(document: Constitution, texts: list[str], response: str) -> str:
    critic = WordJudge("bad", "critic")
    (assessment,) = critic.assess([Case(response)])
    task = Task((Message(role="user", content="Tell me about cycling."),), response, assessment)
    (draft,) = RetrievalEditReviser(SentenceCorpus(texts), document).revise([task], seed=0)
    return draft.revision


def test_only_the_breaching_sentence_gives_way_to_the_most_similar_one(document: Constitution) -> None:
    assert _revise(document, CORPUS, RESPONSE) == f"Ride every day.  {CORPUS[0]}\nWear a helmet."


def test_where_nothing_is_similar_the_sentence_is_left_out(document: Constitution) -> None:
    revision = _revise(document, ["Tulips like sandy soil."], RESPONSE)
    assert revision.split() == ["Ride", "every", "day.", "Wear", "a", "helmet."]


def test_no_sentence_is_put_in_twice(document: Constitution) -> None:
    response = "A bad bicycle chain. Another bad bicycle chain."
    texts = ["A bicycle chain of steel.", "A bicycle chain of brass."]
    assert sorted(sentences(_revise(document, texts, response))) == sorted(texts)


def test_the_corpus_takes_no_breaching_sentence_and_none_of_a_named_user() -> None:
    records = [
        record("1", "Water the tulips today. Do a bad thing now."),
        record("2", "My own private words here.", user="u"),
        record("3", None),
    ]
    assert compliant_sentences(records, WordJudge("bad", "critic")) == ["Water the tulips today."]


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no compliant sentence"):
        SentenceCorpus([])
