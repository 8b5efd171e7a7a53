from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.retrieval.corpus import (
    Collection,
    Document,
    corpus_digest,
    read_collection,
    read_documents,
    read_judgements,
    read_queries,
    write_collection,
)
from tests.acgs.retrieval.corpora import TINY

IDS = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1, max_size=8).filter(str.strip)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)


@st.composite
def collections(draw: st.DrawFn) -> Collection:
    documents = [Document(key, draw(TEXTS), draw(TEXTS) + "x") for key in draw(st.sets(IDS, min_size=1, max_size=5))]
    queries = {key: draw(TEXTS) + "?" for key in draw(st.sets(IDS, min_size=1, max_size=5))}
    judged = draw(st.sets(st.sampled_from(sorted(queries)), min_size=1))
    grades = st.dictionaries(st.sampled_from([item.id for item in documents]), st.integers(-1, 4), min_size=1)
    return Collection(documents, queries, {query: draw(grades) for query in judged})


@settings(max_examples=60, deadline=None)
@given(collections())
def test_a_collection_comes_back_as_it_was_written(collection: Collection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_collection(collection, Path(folder))
        assert read_collection(Path(folder)) == collection


def test_queries_without_judgements_are_named(tmp_path: Path) -> None:
    write_collection(TINY, tmp_path)
    assert read_collection(tmp_path).unjudged == ("q6",)


def test_beir_and_trec_layouts_are_read(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": 7, "text": "a"}\n\n{"id": "8", "title": null, "text": "b"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "a", "metadata": {}}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\r\nq\t7\t1\r\n\r\nq\t8\t0\r\n")
    beir = read_collection(tmp_path)
    assert [document.id for document in beir.documents] == ["7", "8"]
    assert beir.judgements == {"q": {"7": 1, "8": 0}}
    (tmp_path / "trec").write_text("q 0 7 1\nq\t0\t8\t0\n")
    assert read_judgements(tmp_path / "trec") == beir.judgements


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "holds no documents"),
        ('{"_id": "a", "text": ""}', "every document of docs.jsonl is empty"),
        ('{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}', "the id a stands twice"),
        ('{"_id": "a", "text": "x"}\n{"_id": "b"', "line 2: not JSON"),
        (b'{"_id": "a", "text": "\xff"}', "line 1: not JSON"),
        ('["a"]', "line 1: not a JSON object"),
        ('{"text": "x"}', "'_id' must be text"),
        ('{"_id": true, "text": "x"}', "'_id' must be text"),
        ('{"_id": " ", "text": "x"}', "'_id' must be text"),
        ('{"_id": "a\\tb", "text": "x"}', "a tab or a line break"),
        ('{"_id": "a", "text": 3}', "'text' must be text"),
        ('{"_id": "a", "text": "x", "title": []}', "'title' must be text"),
    ],
)
def test_documents_that_cannot_be_used_are_refused_with_their_line(
    content: str | bytes, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        read_documents(_written(tmp_path, "docs.jsonl", content))


def test_a_mark_that_editors_put_before_the_first_line_is_not_part_of_it(tmp_path: Path) -> None:
    _written(tmp_path, "docs.jsonl", b'\xef\xbb\xbf{"_id": "d", "text": "x"}')
    _written(tmp_path, "queries.jsonl", b'\xef\xbb\xbf{"_id": "q", "text": "x"}')
    _written(tmp_path, "qrels.tsv", b"\xef\xbb\xbfq\td\t1\n")
    assert read_collection(tmp_path).judgements == {"q": {"d": 1}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "holds no queries"),
        ('{"_id": "q", "text": " "}', "'text' must be text"),
        ('{"_id": "q", "text": "x"}\n{"_id": "q", "text": "y"}', "the id q stands twice"),
    ],
)
def test_queries_that_cannot_be_used_are_refused(content: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        read_queries(_written(tmp_path, "queries.jsonl", content))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("query-id\tcorpus-id\tscore\n", "holds no judgements"),
        ("q\td\n", "line 1: 2 columns"),
        ("q\td\t1\nq\td\tgood\n", "line 2: the grade is not a whole number"),
        ("q\td\tnan\n", "not a whole number"),
        (f"q\td\t{'9' * 400}\n", "not a whole number of up to 6 digits"),
        ("q\td\t1\nq\td\t2\n", "judged twice for query q"),
        (b"q\t\xff\t1\n", "not UTF-8"),
        ("q\t" + "d" * 200_000 + "\t1\nq\n", "line 2: 1 columns"),
    ],
)
def test_judgements_that_cannot_be_used_are_refused(content: str | bytes, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        read_judgements(_written(tmp_path, "qrels.tsv", content))


@pytest.mark.parametrize(
    ("row", "complaint"), [("q1\tnowhere\t1", "document nowhere"), ("nobody\td1\t1", "query nobody")]
)
def test_judgements_of_what_does_not_exist_are_refused(row: str, complaint: str, tmp_path: Path) -> None:
    write_collection(TINY, tmp_path)
    with (tmp_path / "qrels.tsv").open("a") as handle:
        handle.write(row + "\n")
    with pytest.raises(InvalidInputError, match=complaint):
        read_collection(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_documents, read_queries, read_judgements):
        with pytest.raises(InvalidInputError, match="cannot read"):
            read(tmp_path)


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=3), st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=3))
def test_corpora_share_a_digest_only_if_they_are_the_same(
    first: list[tuple[str, str, str]], second: list[tuple[str, str, str]]
) -> None:
    digests = [corpus_digest([Document(*fields) for fields in rows]) for rows in (first, second)]
    assert (digests[0] == digests[1]) == (first == second)
