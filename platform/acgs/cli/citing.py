"""Citations at the terminal: a searcher of this process, nothing of which is put on the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acgs.governance.citations import Citation
from acgs.retrieval.answers import search_answer
from acgs.retrieval.opening import open_searcher


class IndexCiting:
    """`acgs.governance.evaluation.Citing` over an index, under the shipped retrieval configuration."""

    def __init__(self, folder: Path, encoder: str, passages: int) -> None:
        """Open the index.

        Raises:
            InvalidInputError, IntegrityError, UnavailableError: a part cannot be used; the message says which.
        """
        self._searcher = open_searcher(folder, encoder=encoder)
        self._passages = passages
        self.provenance: dict[str, Any] = {
            "passages": passages,
            "index": self._searcher.index.manifest.digest,
            "configuration": self._searcher.version,
        }

    def cite(self, query: str) -> dict[str, Any]:
        """The passages for a text, as a served decision would carry them without receipt."""
        answer = search_answer(self._searcher, self._searcher.search(query, topk=self._passages))
        passages = [Citation.of(hit.model_dump()).model_dump() for hit in answer.results]
        return {
            "status": "found" if passages else "nothing_found",
            "passages": passages,
            "route": answer.route,
        }
