"""The dense leg: nearest documents by inner product, exactly or through an HNSW graph.

The graph (Malkov and Yashunin 2018, in usearch) only proposes; scores always come from the stored vectors, so the two
searches differ in which documents they find and in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from usearch.index import Index

from acgs.errors import IntegrityError, InvalidInputError

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]


class GraphOptions(BaseModel):
    """How an HNSW graph is built and held."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connectivity: int = Field(16, ge=4, le=128, description="M: links a node")
    expansion_add: int = Field(200, ge=8, le=4096, description="efConstruction: nodes looked at when one is added")
    dtype: str = Field("i8", pattern="^(f32|f16|i8)$", description="quantisation of the graph's own vectors")


class NearestSearch(Protocol):
    """Finds the documents nearest to a query."""

    def nearest(self, query: Singles, k: int) -> Ints:
        """Numbers of at most k documents, best first; ties go to the lower number.

        A query of zeros, which an encoder gives where it knows no word, is near to nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExactSearch:
    """Looks at every vector: the oracle of the graph, and the baseline of its speed."""

    vectors: Singles
    """(documents, width)"""

    def nearest(self, query: Singles, k: int) -> Ints:
        """As the interface says."""
        return best(self.vectors @ query, k) if query.any() else np.zeros(0, np.int32)


class GraphSearch:
    """Approximate search; `ef` is set after loading, since a loaded graph begins with its own default."""

    def __init__(self, index: Any, vectors: Singles, ef: int) -> None:
        self._index = index
        self._vectors = vectors
        self._index.expansion_search = ef
        self.ef = ef

    def nearest(self, query: Singles, k: int) -> Ints:
        """As the interface says, among what the graph finds."""
        if not query.any():
            return np.zeros(0, np.int32)
        # All that the search kept open, not k of them: what the graph's coarse vectors misjudge is mended here.
        wanted = min(max(k, self.ef), len(self._index))
        found = self._index.search(query, wanted, threads=1).keys.astype(np.int32)
        scores = self._vectors[found] @ query
        _require_numbers(scores)
        nearest: Ints = found[np.lexsort((found, -scores))[:k]]
        return nearest

    @property
    def memory_bytes(self) -> int:
        """Memory that the graph holds."""
        return int(self._index.memory_usage)


def build_graph(vectors: Singles, options: GraphOptions) -> Any:
    """An HNSW graph over vectors (documents, width), added in their order by one thread: it is the same each time."""
    index: Any = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype=options.dtype,
        connectivity=options.connectivity,
        expansion_add=options.expansion_add,
    )
    index.add(np.arange(len(vectors), dtype=np.uint64), np.ascontiguousarray(vectors), threads=1)
    return index


def load_graph(path: Path, documents: int, width: int) -> Any:
    """A graph from its file, memory-mapped. Check the file's digest first: the format has no checksum of its own.

    Raises:
        IntegrityError: the file is no graph over these documents.
    """
    try:
        index: Any = Index.restore(str(path), view=True)
    except (RuntimeError, ValueError) as error:
        raise IntegrityError(f"{path.name} is no graph that can be read: {error}; build the index anew") from error
    if index is None or len(index) != documents or index.ndim != width:
        raise IntegrityError(f"{path.name} is no graph over these {documents} documents; build the index anew")
    return index


def best(scores: Singles, k: int) -> Ints:
    """Places of the k highest scores, highest first; ties go to the lower place.

    Raises:
        InvalidInputError: a score is not a number, so that nothing can be put in order.
    """
    k = min(k, len(scores))
    if k == 0:
        return np.zeros(0, np.int32)
    _require_numbers(scores)
    if k == len(scores):
        return np.argsort(-scores, kind="stable").astype(np.int32)
    # Everything that ties with the k-th takes part in the sort, so that the cut does not depend on the partition.
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= threshold)
    order = np.lexsort((places, -scores[places]))[:k]
    return places[order].astype(np.int32)


def _require_numbers(scores: Singles) -> None:
    if np.isnan(scores.max(initial=-np.inf)):
        raise InvalidInputError(
            "a score is not a number; the encoder, the weights or the index are damaged", field="scores"
        )
