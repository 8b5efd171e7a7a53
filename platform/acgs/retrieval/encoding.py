"""A corpus through an encoder, part by part: a part is on disk before the next begins, so an interruption costs one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.retrieval.corpus import Document
from acgs.retrieval.encoders import Encoded, Encoder
from acgs.retrieval.late_interaction import fit_projection, quantise

_PART_DOCUMENTS: Final = 256
"""Documents encoded between two writes: what an interruption costs at most."""
_PROJECTION_SAMPLE: Final = 512
"""Documents from whose tokens the projection is fitted."""
_PROJECTION_SEED: Final = 20260801


@dataclass(frozen=True, slots=True)
class CorpusEncoding:
    """Vectors and quantised token states of all documents; shapes as in `TokenStates`."""

    vectors: NDArray[np.float32]
    projection: NDArray[np.float32]
    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    pieces: NDArray[np.int32]
    """(tokens,) word-piece numbers"""
    starts: NDArray[np.int64]
    vocabulary: int
    """Size of the word-piece vocabulary."""


def encode_corpus(
    documents: Sequence[Document], encoder: Encoder, parts: Path, advance: Callable[[int], None]
) -> CorpusEncoding:
    """Encode documents; parts that the folder `parts` holds already are read.

    Args:
        advance: called with the number of documents that were encoded since the last call.

    Raises:
        InvalidInputError: the encoder gives vectors that are no numbers.
    """
    projection = _kept(parts / "projection.safetensors", partial(_projection, encoder, documents))["projection"]
    found = []
    for begin in range(0, len(documents), _PART_DOCUMENTS):
        texts = [item.content for item in documents[begin : begin + _PART_DOCUMENTS]]
        found.append(_kept(parts / f"{begin:09d}.safetensors", partial(_part, encoder, texts, projection)))
        advance(len(texts))
    joined = {name: _drained(found, name) for name in list(found[0])}
    starts = np.concatenate([[0], np.cumsum(joined["lengths"])]).astype(np.int64)
    return CorpusEncoding(
        joined["vectors"], projection, joined["values"], joined["scales"], joined["pieces"], starts, encoder.pieces
    )


def _drained(parts: list[dict[str, NDArray[Any]]], name: str) -> NDArray[Any]:
    """An array of all parts, each given up as it is copied: token states would not fit into memory twice."""
    first = parts[0][name]
    joined = np.empty((sum(len(part[name]) for part in parts), *first.shape[1:]), first.dtype)
    begin = 0
    for part in parts:
        piece = part.pop(name)
        joined[begin : begin + len(piece)] = piece
        begin += len(piece)
    return joined


def _kept(file: Path, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays of a file; where it is missing or damaged they are made, and kept for the next time."""
    from safetensors.numpy import load_file, save

    try:
        return load_file(file)
    except (OSError, SafetensorError):
        made = make()
        write_atomic(file, save(made))
        return made


def _projection(encoder: Encoder, documents: Sequence[Document]) -> dict[str, NDArray[Any]]:
    chosen = np.random.default_rng(_PROJECTION_SEED).permutation(len(documents))[:_PROJECTION_SAMPLE]
    sample = _numbers_only(encoder.encode([documents[int(place)].content for place in chosen]))
    return {"projection": np.ascontiguousarray(fit_projection(sample.states))}


def _part(encoder: Encoder, texts: Sequence[str], projection: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    encoded = _numbers_only(encoder.encode(texts))
    values, scales = quantise(encoded.states @ projection)
    return {
        "vectors": encoded.vectors,
        "values": values,
        "scales": scales,
        "pieces": encoded.pieces,
        "lengths": np.diff(encoded.starts),
    }


def _numbers_only(encoded: Encoded) -> Encoded:
    if not (np.isfinite(encoded.vectors).all() and np.isfinite(encoded.states).all()):
        raise InvalidInputError(
            "the encoder's vectors are not finite numbers; its weights are damaged", field="encoder"
        )
    return encoded
