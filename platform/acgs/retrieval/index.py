"""An index on disk: built with progress, resumed where it stopped, checked against its digests, memory-mapped.

The folder holds plain arrays, the graph, the documents, and last of all `manifest.json`, which names every file with
its SHA-256, and its own: a folder without it is no index. What is encoded before an interruption is kept in `parts/`.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from acgs.errors import IntegrityError, InvalidInputError
from acgs.files import write_atomic
from acgs.retrieval import analysis
from acgs.retrieval.corpus import Document, check_documents, corpus_digest
from acgs.retrieval.documents import DocumentFile, pack
from acgs.retrieval.encoders import Encoder
from acgs.retrieval.encoding import CorpusEncoding, encode_corpus
from acgs.retrieval.late_interaction import TokenStates, piece_rarity
from acgs.retrieval.lexical import LexicalLeg, Postings, build_leg, derive
from acgs.retrieval.vectors import ExactSearch, GraphOptions, GraphSearch, build_graph, load_graph

FORMAT: Final = 3
MANIFEST: Final = "manifest.json"
PARTS: Final = "parts"
_POSTINGS: Final = ("keys", "data", "indices", "starts")
_GRAPH: Final = "graph.usearch"
_FILES: Final = frozenset(
    (
        "documents.jsonl",
        "documents.starts.npy",
        _GRAPH,
        *(f"lexical.{leg}.{part}.npy" for leg in ("words", "pairs") for part in _POSTINGS),
        *(f"tokens.{part}.npy" for part in ("projection", "values", "scales", "starts", "rarity")),
        "vectors.npy",
    )
)
"""What an index consists of, beside its manifest."""


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
        fields = self.model_dump(mode="json")
        return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


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
        graph = load_graph(self.folder / _GRAPH, self.manifest.documents, self.vectors.shape[1])
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
    """Build an index, or go on with one that was interrupted.

    An intact index of the same making is left as it is; any other is searched until the new one's files are written.

    Args:
        advance: called with the number of documents that were encoded since the last call.

    Raises:
        InvalidInputError: the documents cannot be searched or told apart, the encoder gives no numbers, or the folder
            holds something else than an index.
    """
    check_documents(documents, "the corpus")
    bm25, graph = bm25 or Bm25Options(), graph or GraphOptions()
    corpus = corpus_digest(documents)
    made = _intact(folder)
    if made is not None and (made.corpus_sha256, made.encoder_sha256, made.bm25, made.graph) == (
        corpus,
        encoder.digest,
        bm25,
        graph,
    ):
        advance(len(documents))
        return made
    _require_own(folder)
    parts = folder / PARTS / f"{FORMAT}-{corpus[:16]}-{encoder.digest[:16]}"
    encoded = encode_corpus(documents, encoder, parts, advance)
    content, starts = pack(documents)
    arrays = {"documents.starts.npy": starts, **_arrays(documents, encoded, bm25)}
    with _saved(build_graph(arrays["vectors.npy"], graph), folder / f".{_GRAPH}.{os.getpid()}") as temporary:
        # From here until the new manifest is written the folder holds no index.
        (folder / MANIFEST).unlink(missing_ok=True)
        files = {_GRAPH: _sha256(temporary), "documents.jsonl": _written(folder / "documents.jsonl", content)}
        for name, array in arrays.items():
            files[name] = _written(folder / name, _npy(array))
        temporary.replace(folder / _GRAPH)
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
    write_atomic(folder / MANIFEST, _stated(manifest))
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return manifest


def make_variant(source: Path, target: Path, bm25: Bm25Options) -> IndexManifest:
    """Write an index with other BM25 options over the same encodings; what does not differ is linked, not copied.

    An index that stands at the target already is replaced, its manifest last.

    Raises:
        InvalidInputError: source and target are one, source holds no index, or target holds something else.
        IntegrityError: the source is damaged.
    """
    if target.resolve() == source.resolve():
        raise InvalidInputError("a variant of an index needs a folder of its own", field="target")
    index = open_index(source)
    _require_own(target)
    target.mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).unlink(missing_ok=True)
    contents = [index.documents[number].content for number in range(len(index.documents))]
    made = _lexical_arrays(build_leg(contents, bm25.k1, bm25.b))
    files = dict(index.manifest.files)
    for name in files:
        if name in made:
            files[name] = _written(target / name, _npy(made[name]))
        else:
            _share(source / name, target / name)
    manifest = index.manifest.model_copy(update={"bm25": bm25, "files": files})
    write_atomic(target / MANIFEST, _stated(manifest))
    return manifest


def open_index(folder: Path) -> Index:
    """Open an index after checking every file against its digest.

    Raises:
        InvalidInputError: the folder holds no index.
        IntegrityError: a file is missing, changed or cut, or the index was made by another version.
    """
    manifest = _manifest(folder)
    _check(folder, manifest)
    vectors = _mapped(folder, "vectors.npy")
    return Index(
        manifest=manifest,
        documents=DocumentFile(folder / "documents.jsonl", _mapped(folder, "documents.starts.npy")),
        lexical=derive(_postings(folder, "words", manifest.documents), _postings(folder, "pairs", manifest.documents)),
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


def _arrays(documents: Sequence[Document], encoded: CorpusEncoding, bm25: Bm25Options) -> dict[str, NDArray[Any]]:
    """The index's arrays by file name, but for the documents' offsets."""
    leg = build_leg([item.content for item in documents], bm25.k1, bm25.b)
    named: dict[str, NDArray[Any]] = {
        "vectors.npy": encoded.vectors,
        "tokens.projection.npy": encoded.projection,
        "tokens.values.npy": encoded.values,
        "tokens.scales.npy": encoded.scales,
        "tokens.starts.npy": encoded.starts,
        "tokens.rarity.npy": piece_rarity(encoded.pieces, encoded.starts, encoded.vocabulary),
    }
    return named | _lexical_arrays(leg)


def _lexical_arrays(leg: LexicalLeg) -> dict[str, NDArray[Any]]:
    return {
        f"lexical.{name}.{part}.npy": getattr(postings, part)
        for name, postings in (("words", leg.words), ("pairs", leg.pairs))
        for part in _POSTINGS
    }


def _share(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _postings(folder: Path, name: str, documents: int) -> Postings:
    return Postings(**{part: _mapped(folder, f"lexical.{name}.{part}.npy") for part in _POSTINGS}, documents=documents)


def _manifest(folder: Path) -> IndexManifest:
    """The folder's manifest, if it is whole and of this version."""
    try:
        content = (folder / MANIFEST).read_bytes()
        stated = orjson.loads(content)
        if (stated["format"], stated["analysis"]) != (FORMAT, analysis.VERSION):
            raise IntegrityError(f"the index {folder.name} was made by another version; build it anew", field="index")
        del stated["digest"]
        manifest = IndexManifest.model_validate(stated)
    except OSError:
        raise InvalidInputError(
            f"{folder} holds no finished index; make one with 'acgs retrieval index'", field="index"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(folder) from None
    if content != _stated(manifest) or manifest.files.keys() != _FILES:
        raise _damaged(folder)
    return manifest


def _stated(manifest: IndexManifest) -> bytes:
    """The manifest's file, to the byte."""
    fields = {**manifest.model_dump(mode="json"), "digest": manifest.digest}
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _damaged(folder: Path) -> IntegrityError:
    return IntegrityError(f"the manifest of the index {folder.name} is damaged; build it anew", field="index")


def _check(folder: Path, manifest: IndexManifest) -> None:
    """Compare every file with its digest."""
    for name, digest in manifest.files.items():
        try:
            found = _sha256(folder / name)
        except OSError:
            raise IntegrityError(f"the index lacks {name}; build it anew", field="index") from None
        if found != digest:
            raise IntegrityError(f"{name} is not what the index was made with; build it anew", field="index")


def _intact(folder: Path) -> IndexManifest | None:
    """The manifest of an index that can be opened; None where there is none."""
    try:
        manifest = _manifest(folder)
        _check(folder, manifest)
    except (InvalidInputError, IntegrityError):
        return None
    return manifest


def _require_own(folder: Path) -> None:
    """Refuse to write among files that are not an index's."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder.name} is no folder; give an empty one", field="output")
    if (folder / MANIFEST).is_file() or (folder / PARTS).is_dir() or not folder.is_dir():
        return
    if any(not item.name.startswith(".") and item.name not in _FILES for item in folder.iterdir()):
        raise InvalidInputError(f"{folder.name} holds files that are no index; give an empty folder", field="output")


@contextmanager
def _saved(graph: Any, temporary: Path) -> Iterator[Path]:
    """A graph in a file, on disk, which is gone afterwards unless it was moved."""
    try:
        graph.save(str(temporary))
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _written(path: Path, data: bytes) -> str:
    """SHA-256 of what was written."""
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _mapped(folder: Path, name: str) -> NDArray[Any]:
    # A plain view of the map: slicing `memmap` itself costs ten times as much.
    mapped: NDArray[Any] = np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False))
    return mapped
