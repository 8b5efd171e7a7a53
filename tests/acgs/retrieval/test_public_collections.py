from __future__ import annotations

import json
from pathlib import Path

import pytest

from acgs.errors import InvalidInputError
from acgs.retrieval.corpus import read_collection, write_collection
from acgs.retrieval.public_collections import READERS, cosqa, eu_ai_act, vaswani

FOLDERS = {"vaswani": "vaswani_npl", "cosqa": "cosqa", "eu-ai-act": "eu_ai_act"}


@pytest.mark.parametrize(
    ("kind", "documents", "queries"), [("vaswani", 11_429, 93), ("cosqa", 6_267, 500), ("eu-ai-act", 133, 148)]
)
def test_a_public_collection_is_whole_and_survives_its_new_layout(
    kind: str, documents: int, queries: int, shared_data: Path, tmp_path: Path
) -> None:
    if not (shared_data / FOLDERS[kind]).is_dir():
        pytest.skip(f"{kind} is not on this machine")
    collection = READERS[kind](shared_data / FOLDERS[kind])
    assert (len(collection.documents), len(collection.judgements)) == (documents, queries)
    assert collection.unjudged == ()
    write_collection(collection, tmp_path)
    again = read_collection(tmp_path)
    assert list(again.documents) == list(collection.documents)
    assert (again.queries, again.judgements) == (collection.queries, collection.judgements)


def test_vaswani_is_read_from_trec_text(tmp_path: Path) -> None:
    (tmp_path / "doc-text.trec").write_text("<DOC>\n<DOCNO>1</DOCNO>\nA  dam\nholds\n</DOC>\n")
    (tmp_path / "query-text.trec").write_text("<top>\n<num>7</num><title>\nDAM WATER\n</title>\n</top>")
    (tmp_path / "qrels").write_text("7 0 1 1\n")
    found = vaswani(tmp_path)
    assert [(document.id, document.text) for document in found.documents] == [("1", "A dam holds")]
    assert found.queries == {"7": "dam water"}
    assert found.judgements == {"7": {"1": 1}}


@pytest.mark.parametrize("kind", READERS)
def test_a_folder_without_the_collection_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot read"):
        READERS[kind](tmp_path)


def test_files_of_another_format_are_refused(tmp_path: Path) -> None:
    for name in ("doc-text.trec", "query-text.trec"):
        (tmp_path / name).write_text("nothing of the kind")
    (tmp_path / "qrels").write_text("1 0 1 relevant")
    with pytest.raises(InvalidInputError, match="whole number"):
        vaswani(tmp_path)
    (tmp_path / "qrels").write_text("1 0 1 1")
    with pytest.raises(InvalidInputError, match="not in the format expected"):
        vaswani(tmp_path)
    for code, queries in (("{}", "[]"), ('{"f": 1}', '[{"doc": "x"}]'), ("[]", "[]")):
        (tmp_path / "code_idx_map.txt").write_text(code)
        (tmp_path / "cosqa-retrieval-dev-500.json").write_text(queries)
        with pytest.raises(InvalidInputError, match="not in the format expected"):
            cosqa(tmp_path)
    (tmp_path / "aiact.json").write_text(json.dumps({"articles": [], "annexes": []}))
    with pytest.raises(InvalidInputError, match="not in the format expected"):
        eu_ai_act(tmp_path)
    (tmp_path / "aiact.json").write_text("{")
    with pytest.raises(InvalidInputError, match="not JSON"):
        eu_ai_act(tmp_path)
