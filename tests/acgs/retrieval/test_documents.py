from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.retrieval.corpus import Document
from acgs.retrieval.documents import DocumentFile, pack

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(Document, TEXTS, TEXTS, TEXTS), min_size=1, max_size=6))
def test_every_document_is_found_by_its_number(documents: list[Document]) -> None:
    content, starts = pack(documents)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl"
        path.write_bytes(content)
        file = DocumentFile(path, starts)
        assert len(file) == len(documents)
        assert [file[number] for number in range(len(file))] == documents
    assert content.count(b"\n") == len(documents)
