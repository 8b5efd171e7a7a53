"""An index on disk: built with progress, resumed where it stopped, checked against its digests, memory-mapped.

The folder holds plain arrays, the graph, the documents, and last of all `manifest.json`, which names every file with its
SHA-256: a folder without it is no index. Parts that were encoded before an interruption are kept in `parts/`.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acgs.errors import IntegrityError, InvalidInputError
from acgs.files import write_atomic
from acgs.retrieval import analysis
from acgs.retrieval.corpus import Document, corpus_digest
from acgs.retrieval.documents import DocumentFile, pack
from acgs.retrieval.encoders import Encoded, Encoder
from acgs.retrieval.late_interaction import TokenStates, fit_projection, piece_rarity, quantise
from acgs.retrieval.lexical import LexicalLeg, Postings, build_leg, derive
from acgs.retrieval.vectors import ExactSearch, GraphOptions, GraphSearch, build_graph, load_graph

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
PARTS: Final = "parts"
_PART_DOCUMENTS: Final = 256
"""Documents encoded between two writes: what an interruption costs at most."""
_PROJECTION_SAMPLE: Final = 512
"""Documents from whose tokens the projection is fitted."""
_PROJECTION_SEED: Final = 20260801


class Bm25Options(BaseModel):
    """BM25's two parameters; the defaults are those of the Robertson and Zaragoza review (2009)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k1: float = Field(1.2, ge=0, le=10)
    b: float = Field(0.75, ge=0, le=1)


class IndexManifest(BaseModel):
    """What an index is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    analysis: int = analysis.VERSION
    documents: int
    tokens: int
    corpus_sha256: str
    encoder: str
    encoder_sha256: str
    bm25: Bm25Options
    graph: GraphOptions
    files: dict[str, str] = Field(description="SHA-256 by file name")

    @property
    def digest(self) -> str:
        """SHA-256 that names the index."""
        return hashlib.sha256(_canonical(self)).hexdigest()


@dataclass(frozen=True, slots=True)
class Index:
    """An open index."""

    manifest: IndexManifest
    documents: DocumentFile
    lexical: LexicalLeg
    vectors: NDArray[np.float32]
    """(documents, width)"""
    tokens: TokenStates
    folder: Path

    def exact(self) -> ExactSearch:
        """Search that looks at every vector."""
        return ExactSearch(self.vectors)

    def graph(self, ef: int) -> GraphSearch:
        """Search through the graph; each call maps it anew, so that two may differ in `ef`."""
        graph = load_graph(self.folder / "graph.usearch", self.manifest.documents, self.vectors.shape[1])
        return GraphSearch(graph, self.vectors, ef)


def build_index(
    documents: Sequence[Document],
    encoder: Encoder,
    folder: Path,
    *,
    bm25: Bm25Options | None = None,
    graph: GraphOptions | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> IndexManifest:
    """Build an index, or go on with one that was interrupted; an index of the same making is left as it is.

    Args:
        advance: called with the number of documents that were encoded since the last call.

    Raises:
        InvalidInputError: the folder holds something else than an index.
    """
    bm25, graph = bm25 or Bm25Options(), graph or GraphOptions()
    corpus = corpus_digest(documents)
    made = _manifest(folder) if (folder / MANIFEST).is_file() else None
    if made is not None:
        same = (made.corpus_sha256, made.encoder_sha256, made.bm25, made.graph, made.format, made.analysis)
        if same == (corpus, encoder.digest, bm25, graph, FORMAT, analysis.VERSION):
            advance(len(documents))
            return made
    elif folder.is_dir() and any(item.name != PARTS and not item.name.startswith(".") for item in folder.iterdir()):
        if not (folder / PARTS).is_dir():
            raise InvalidInputError(
                f"{folder.name} holds files that are no index; give an empty folder", field="output"
            )
    (folder / MANIFEST).unlink(missing_ok=True)
    parts = folder / PARTS / f"{corpus[:16]}-{encoder.digest[:16]}"
    encoded = _encode(documents, encoder, parts, advance)
    arrays = _arrays(documents, encoded, bm25)
    files = {}
    content, starts = pack(documents)
    for name, data in (
        ("documents.jsonl", content),
        ("documents.starts.npy", _npy(starts)),
        ("lexical.words.json", orjson.dumps(arrays.words.vocabulary)),
        ("lexical.pairs.json", orjson.dumps(arrays.pairs.vocabulary)),
        *((name, _npy(array)) for name, array in arrays.named.items()),
    ):
        write_atomic(folder / name, data)
        files[name] = hashlib.sha256(data).hexdigest()
    temporary = folder / ".graph.usearch"
    build_graph(arrays.named["vectors.npy"], graph).save(str(temporary))
    with temporary.open("rb+") as handle:
        os.fsync(handle.fileno())
        files["graph.usearch"] = hashlib.file_digest(handle, "sha256").hexdigest()
    temporary.replace(folder / "graph.usearch")
    manifest = IndexManifest(
        documents=len(documents),
        tokens=len(encoded.pieces),
        corpus_sha256=corpus,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        bm25=bm25,
        graph=graph,
        files=dict(sorted(files.items())),
    )
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1).encode() + b"\n")
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return manifest


def open_index(folder: Path) -> Index:
    """Open an index after checking every file against its digest.

    Raises:
        InvalidInputError: the folder holds no index.
        IntegrityError: a file is missing, changed or cut, or the index was made by another version.
    """
    manifest = _manifest(folder)
    if (manifest.format, manifest.analysis) != (FORMAT, analysis.VERSION):
        raise IntegrityError(f"the index {folder.name} was made by another version; build it anew", field="index")
    for name, digest in manifest.files.items():
        _check(folder / name, digest)
    vectors = _mapped(folder, "vectors.npy")
    return Index(
        manifest=manifest,
        documents=DocumentFile(folder / "documents.jsonl", _mapped(folder, "documents.starts.npy")),
        lexical=derive(_postings(folder, "words", manifest), _postings(folder, "pairs", manifest)),
        vectors=vectors,
        tokens=TokenStates(
            projection=_mapped(folder, "tokens.projection.npy"),
            values=_mapped(folder, "tokens.values.npy"),
            scales=_mapped(folder, "tokens.scales.npy"),
            starts=_mapped(folder, "tokens.starts.npy"),
            rarity=_mapped(folder, "tokens.rarity.npy"),
        ),
        folder=folder,
    )


@dataclass(frozen=True, slots=True)
class _Encodings:
    vectors: NDArray[np.float32]
    projection: NDArray[np.float32]
    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    pieces: NDArray[np.int32]
    starts: NDArray[np.int64]
    vocabulary: int


@dataclass(frozen=True, slots=True)
class _Arrays:
    words: Postings
    pairs: Postings
    named: dict[str, NDArray[Any]]


def _encode(documents: Sequence[Document], encoder: Encoder, parts: Path, advance: Callable[[int], None]) -> _Encodings:
    """Encode the documents part by part; parts that are there already are read."""
    from safetensors.numpy import load_file, save

    parts.mkdir(parents=True, exist_ok=True)
    projection_file = parts / "projection.safetensors"
    if not projection_file.is_file():
        chosen = np.random.default_rng(_PROJECTION_SEED).permutation(len(documents))[:_PROJECTION_SAMPLE]
        sample = encoder.encode([documents[int(place)].content for place in chosen])
        write_atomic(projection_file, save({"projection": np.ascontiguousarray(fit_projection(sample.states))}))
    projection = load_file(projection_file)["projection"]
    pieces = []
    for begin in range(0, len(documents), _PART_DOCUMENTS):
        file = parts / f"{begin:09d}.safetensors"
        batch = documents[begin : begin + _PART_DOCUMENTS]
        if not file.is_file():
            write_atomic(file, save(_part(encoder.encode([item.content for item in batch]), projection)))
        pieces.append(load_file(file))
        advance(len(batch))
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    starts = np.concatenate([[0], np.cumsum(joined["lengths"])]).astype(np.int64)
    return _Encodings(
        joined["vectors"], projection, joined["values"], joined["scales"], joined["pieces"], starts, encoder.pieces
    )


def _part(encoded: Encoded, projection: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    values, scales = quantise(encoded.states @ projection)
    return {
        "vectors": encoded.vectors,
        "values": values,
        "scales": scales,
        "pieces": encoded.pieces,
        "lengths": np.diff(encoded.starts),
    }


def _arrays(documents: Sequence[Document], encoded: _Encodings, bm25: Bm25Options) -> _Arrays:
    leg = build_leg([item.content for item in documents], bm25.k1, bm25.b)
    named: dict[str, NDArray[Any]] = {
        "vectors.npy": encoded.vectors,
        "tokens.projection.npy": encoded.projection,
        "tokens.values.npy": encoded.values,
        "tokens.scales.npy": encoded.scales,
        "tokens.starts.npy": encoded.starts,
        "tokens.rarity.npy": piece_rarity(encoded.pieces, encoded.starts, encoded.vocabulary),
    }
    for name, postings in (("words", leg.words), ("pairs", leg.pairs)):
        named[f"lexical.{name}.data.npy"] = postings.data
        named[f"lexical.{name}.indices.npy"] = postings.indices
        named[f"lexical.{name}.starts.npy"] = postings.starts
    return _Arrays(leg.words, leg.pairs, named)


def _postings(folder: Path, name: str, manifest: IndexManifest) -> Postings:
    return Postings(
        data=_mapped(folder, f"lexical.{name}.data.npy"),
        indices=_mapped(folder, f"lexical.{name}.indices.npy"),
        starts=_mapped(folder, f"lexical.{name}.starts.npy"),
        vocabulary=orjson.loads((folder / f"lexical.{name}.json").read_bytes()),
        documents=manifest.documents,
    )


def _manifest(folder: Path) -> IndexManifest:
    try:
        return IndexManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError:
        raise InvalidInputError(
            f"{folder} holds no finished index; make one with 'acgs retrieval index'", field="index"
        ) from None
    except ValidationError:
        raise IntegrityError(
            f"the manifest of the index {folder.name} is damaged; build it anew", field="index"
        ) from None


def _check(path: Path, digest: str) -> None:
    try:
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        raise IntegrityError(f"the index lacks {path.name}; build it anew", field="index") from None
    if found != digest:
        raise IntegrityError(f"{path.name} is not what the index was made with; build it anew", field="index")


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _mapped(folder: Path, name: str) -> NDArray[Any]:
    # A plain view of the map: slicing `memmap` itself costs ten times as much.
    mapped: NDArray[Any] = np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False))
    return mapped


def _canonical(manifest: IndexManifest) -> bytes:
    return orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
