"""Readers of public judged collections in their own formats, for measurement."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from acgs.errors import InvalidInputError
from acgs.retrieval.corpus import Collection, Document, read_judgements

_DOCUMENT: Final = re.compile(r"<DOCNO>(.*?)</DOCNO>(.*?)</DOC>", re.S)
_TOPIC: Final = re.compile(r"<num>(.*?)</num>\s*<title>(.*?)</title>", re.S)


def vaswani(folder: Path) -> Collection:
    """Vaswani (NPL): TREC text, topics and qrels.

    Raises:
        InvalidInputError: a file is missing or not in its format.
    """
    documents = [
        Document(number.strip(), "", " ".join(text.split()))
        for number, text in _DOCUMENT.findall(_read(folder / "doc-text.trec"))
    ]
    topics = _TOPIC.findall(_read(folder / "query-text.trec"))
    judgements = read_judgements(folder / "qrels")
    # Topics are in capitals, documents are not.
    queries = {number.strip(): " ".join(text.split()).lower() for number, text in topics}
    return _checked(Collection(documents, queries, judgements), folder)


def cosqa(folder: Path) -> Collection:
    """CoSQA: Python functions with their docstrings, and the development queries (one relevant function each).

    Raises:
        InvalidInputError: as `vaswani`.
    """
    functions: Mapping[str, int] = _json(folder / "code_idx_map.txt")
    rows = _json(folder / "cosqa-retrieval-dev-500.json")
    with _in_its_format(folder):
        documents = [Document(str(number), "", code) for code, number in functions.items()]
        queries = {row["idx"]: row["doc"] for row in rows}
        judgements = {row["idx"]: {str(row["retrieval_idx"]): 1} for row in rows}
    return _checked(Collection(documents, queries, judgements), folder)


def eu_ai_act(folder: Path) -> Collection:
    """The EU's AI act: recitals as queries, the articles and annexes that they relate to as relevant.

    Raises:
        InvalidInputError: as `vaswani`.
    """
    act = _json(folder / "aiact.json")
    judgements: dict[str, dict[str, int]] = {}
    with _in_its_format(folder):
        documents = [Document(item["id"], item["title"], item["text"]) for item in act["articles"] + act["annexes"]]
        known = {document.id for document in documents}
        for edge in act["edges"]:
            if edge["s"].startswith("rct_") and edge["t"] in known:
                judgements.setdefault(edge["s"], {})[edge["t"]] = 1
        queries = {item["id"]: item["text"] for item in act["recitals"] if item["id"] in judgements}
    return _checked(Collection(documents, queries, judgements), folder)


READERS: Final[dict[str, Callable[[Path], Collection]]] = {"vaswani": vaswani, "cosqa": cosqa, "eu-ai-act": eu_ai_act}


@contextmanager
def _in_its_format(folder: Path) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{folder.name} is not in the format expected", field="input") from error


def _checked(collection: Collection, folder: Path) -> Collection:
    if not collection.documents or not collection.queries or not collection.judgements:
        raise InvalidInputError(f"{folder.name} is not in the format expected", field="input")
    return collection


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field="input") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise InvalidInputError(f"{path.name} is not JSON", field="input") from error
