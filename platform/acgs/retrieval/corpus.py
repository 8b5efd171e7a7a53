"""Corpora in BEIR's layout: documents, queries and relevance judgements, checked as they are read.

A folder holds `docs.jsonl` (or BEIR's `corpus.jsonl`) with `_id`, `title`, `text`; `queries.jsonl` with `_id`, `text`;
and `qrels.tsv` (or `qrels/test.tsv`) with query, document and grade, or TREC's query, 0, document and grade.
"""

from __future__ import annotations

import hashlib
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from acgs.errors import InvalidInputError
from acgs.files import write_atomic

DOCUMENT_FILES: Final = ("docs.jsonl", "corpus.jsonl")
QUERY_FILE: Final = "queries.jsonl"
JUDGEMENT_FILES: Final = ("qrels.tsv", "qrels/test.tsv")
_HEADER: Final = ("query-id", "query_id", "query")
_GRADE: Final = re.compile(r"[+-]?[0-9]{1,6}")
_BREAKS: Final = ("\t", "\n", "\r")
"""What an id may not hold: qrels put one pair a line, with tabs between."""


@dataclass(frozen=True, slots=True)
class Document:
    """One passage."""

    id: str
    title: str
    text: str

    @property
    def content(self) -> str:
        """Title and text as one, which is what is indexed."""
        return f"{self.title}. {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents with queries and judgements."""

    documents: Sequence[Document]
    queries: Mapping[str, str]
    """Text by query id."""
    judgements: Mapping[str, Mapping[str, int]]
    """Grade by document id, by query id; only queries that have judgements."""

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Queries without judgements: they can be searched, not scored."""
        return tuple(query for query in self.queries if query not in self.judgements)


def read_documents(path: Path) -> list[Document]:
    """Documents of a JSON lines file, or of the folder that holds one.

    Raises:
        InvalidInputError: the file cannot be read, a line is no document, or as `check_documents`.
    """
    file = _find(path, DOCUMENT_FILES) if path.is_dir() else path
    documents = [
        Document(_text(row, "_id", where), _optional(row, "title", where), _text(row, "text", where, empty=True))
        for where, row in _json_lines(file)
    ]
    check_documents(documents, file.name)
    return documents


def check_documents(documents: Sequence[Document], where: str) -> None:
    """Refuse documents that cannot be searched, or told apart.

    Raises:
        InvalidInputError: there are none, all are empty, or an id stands twice.
    """
    if not documents:
        raise InvalidInputError(f"{where} holds no documents; there is nothing to search", field="docs")
    _refuse_repeated([document.id for document in documents], where)
    if not any(document.content.strip() for document in documents):
        raise InvalidInputError(f"every document of {where} is empty; there is nothing to search", field="docs")


def read_queries(path: Path) -> dict[str, str]:
    """Texts by query id.

    Raises:
        InvalidInputError: as `read_documents`; a query without text.
    """
    file = path / QUERY_FILE if path.is_dir() else path
    rows = [(_text(row, "_id", where), _text(row, "text", where)) for where, row in _json_lines(file)]
    if not rows:
        raise InvalidInputError(f"{file.name} holds no queries", field="queries")
    _refuse_repeated([query for query, _ in rows], file.name)
    return dict(rows)


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """Grades by document id, by query id.

    Raises:
        InvalidInputError: the file cannot be read, a row has not 3 or 4 columns, a grade is no whole number, or a pair
            is judged twice.
    """
    file = _find(path, JUDGEMENT_FILES) if path.is_dir() else path
    judgements: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_utf8(file).split("\n"), start=1):
        cells = line.rstrip("\r").split("\t") if "\t" in line else line.split()
        where = f"{file.name}, line {number}"
        if not cells or (number == 1 and cells[0] in _HEADER):
            continue
        if len(cells) not in (3, 4):
            raise InvalidInputError(f"{where}: {len(cells)} columns; give query, document and grade", field="qrels")
        query, document, grade = cells[0], cells[-2], cells[-1]
        if not _GRADE.fullmatch(grade):
            raise InvalidInputError(f"{where}: the grade is not a whole number of up to 6 digits", field="qrels")
        if document in judgements.setdefault(query, {}):
            raise InvalidInputError(f"{where}: document {document} is judged twice for query {query}", field="qrels")
        judgements[query][document] = int(grade)
    if not judgements:
        raise InvalidInputError(f"{file.name} holds no judgements", field="qrels")
    return judgements


def read_collection(folder: Path) -> Collection:
    """All three files of a folder, checked against each other.

    Raises:
        InvalidInputError: as above; a judgement names a document or query that does not exist.
    """
    documents, queries, judgements = read_documents(folder), read_queries(folder), read_judgements(folder)
    known = {document.id for document in documents}
    for query, grades in judgements.items():
        if query not in queries:
            raise InvalidInputError(f"qrels judge query {query}, which {QUERY_FILE} does not hold", field="qrels")
        unknown = next((document for document in grades if document not in known), None)
        if unknown is not None:
            raise InvalidInputError(
                f"qrels judge document {unknown} for query {query}, which the documents do not hold", field="qrels"
            )
    return Collection(documents, queries, judgements)


def write_collection(collection: Collection, folder: Path) -> None:
    """Write a collection in the layout that `read_collection` reads."""
    write_atomic(
        folder / DOCUMENT_FILES[0],
        _lines({"_id": item.id, "title": item.title, "text": item.text} for item in collection.documents),
    )
    write_atomic(folder / QUERY_FILE, _lines({"_id": key, "text": text} for key, text in collection.queries.items()))
    rows = [
        f"{query}\t{document}\t{grade}\n"
        for query, grades in collection.judgements.items()
        for document, grade in grades.items()
    ]
    write_atomic(folder / JUDGEMENT_FILES[0], ("query-id\tcorpus-id\tscore\n" + "".join(rows)).encode())


def corpus_digest(documents: Sequence[Document]) -> str:
    """SHA-256 over ids and contents in their order; it names what an index was made of."""
    total = hashlib.sha256()
    for document in documents:
        for part in (document.id, document.title, document.text):
            data = part.encode()
            total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def _lines(rows: Iterable[dict[str, str]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def _find(folder: Path, names: tuple[str, ...]) -> Path:
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _utf8(path: Path) -> str:
    try:
        return path.read_bytes().removeprefix(BOM_UTF8).decode()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field=path.name) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path.name} is not UTF-8 text", field=path.name) from error


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                if not line.strip():
                    continue
                where = f"{path.name}, line {number}"
                try:
                    row = orjson.loads(line.removeprefix(BOM_UTF8))
                except orjson.JSONDecodeError as error:
                    raise InvalidInputError(f"{where}: not JSON: {error.msg}", field=path.name) from None
                if not isinstance(row, dict):
                    raise InvalidInputError(f"{where}: not a JSON object", field=path.name)
                yield where, row
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field=path.name) from error


def _text(row: Mapping[str, Any], name: str, where: str, *, empty: bool = False) -> str:
    value = row.get(name, row.get("id") if name == "_id" else None)
    if name == "_id":
        # Some corpora number their documents.
        value = str(value) if type(value) is int else value
        if isinstance(value, str) and any(mark in value for mark in _BREAKS):
            raise InvalidInputError(f"{where}: the id holds a tab or a line break", field=name)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise InvalidInputError(f"{where}: '{name}' must be text", field=name)
    return value


def _optional(row: Mapping[str, Any], name: str, where: str) -> str:
    return _text(row, name, where, empty=True) if row.get(name) is not None else ""


def _refuse_repeated(ids: Sequence[str], where: str) -> None:
    seen: set[str] = set()
    for item in ids:
        if item in seen:
            raise InvalidInputError(f"{where}: the id {item} stands twice; ids must be unique", field="_id")
        seen.add(item)
