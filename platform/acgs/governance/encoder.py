"""The inline text encoder: static token embeddings, short convolutions and one hidden layer, in NumPy alone.

Token embeddings are distilled from MiniLM; the rest is trained by `train_jobs.guard` with the second tier as teacher.
Text is read in windows, so that padding cannot drown what matters; the worst window and reading count.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from acgs.governance.text.readings import readings

Singles = NDArray[np.float32]

WINDOW: Final = 128
"""Tokens scored together; longer texts are read in windows that overlap by a quarter, and as a whole."""
STRIDE: Final = 96
"""Tokens from the start of one window to the start of the next."""
_WHOLE: Final = 512
_UNKNOWN: Final = 100
_LAYER_NORM_EPSILON: Final = 1e-5
_KEPT_WORDS: Final = 1 << 14
"""Rare words whose pieces are remembered."""
_WORD: Final = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
"""A word or a sign of plain lower-case ASCII, as BERT's pre-tokenizer cuts them."""

CONVOLUTIONS: Final[dict[str, tuple[int, ...]]] = {"pair": (0, 1), "triple": (-1, 0, 1), "skip": (0, 2)}
"""Offsets of the tokens that each convolution sees."""


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """Arrays of the encoder; `d` embedding width, `f` filters a convolution, `h` hidden units, `k` heads.

    `embedding` and `direct` are stored as int8 with a scale a row and a column.
    """

    embedding: NDArray[np.int8]
    """(vocabulary, d)"""
    embedding_scale: Singles
    """(vocabulary,)"""
    attention: Singles
    """(vocabulary,) pooling logit of each token"""
    direct: NDArray[np.int8]
    """(vocabulary, k) each token's own push on each head"""
    direct_scale: Singles
    """(k,)"""
    convolution: Singles
    """(sum of offsets, d, f) in the order of `CONVOLUTIONS`"""
    convolution_bias: Singles
    """(3, f)"""
    norm_scale: Singles
    norm_bias: Singles
    hidden: Singles
    """(2 d + 3 f, h)"""
    hidden_bias: Singles
    output: Singles
    """(h, k)"""
    output_bias: Singles

    @classmethod
    def names(cls) -> list[str]:
        """Names of the arrays as stored."""
        return [field.name for field in fields(cls)]


class StaticEncoder:
    """Scores texts on every head. Deterministic and free of state between calls."""

    def __init__(self, weights: EncoderWeights, tokenizer_json: str) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._embedding = weights.embedding.astype(np.float32) * weights.embedding_scale[:, None]
        self._attention = np.exp(weights.attention - weights.attention.max())
        self._direct = weights.direct
        self._direct_scale = weights.direct_scale
        # Embeddings are static, so each token's contribution to every filter at every offset is known beforehand:
        # one table of shape (vocabulary, f) an offset.
        self._products = [np.ascontiguousarray(self._embedding @ kernel) for kernel in weights.convolution]
        self._convolution_bias = weights.convolution_bias
        # The normalisation's own scale and bias are part of the layer behind it.
        self._hidden = weights.norm_scale[:, None] * weights.hidden
        self._hidden_bias = weights.norm_bias @ weights.hidden + weights.hidden_bias
        self._weights = weights
        self._whole_words = {
            word: number for word, number in self._tokenizer.get_vocab().items() if _WORD.fullmatch(word)
        }
        self._pieces = lru_cache(maxsize=_KEPT_WORDS)(self._encode)

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text, at least one."""
        if not (text.isascii() and text.isprintable()) or "[" in text:
            return self._encode(text) or [_UNKNOWN]
        # Plain text is cut into words as the tokenizer would cut it, and most words are one token. A bracket could
        # begin the name of a special token.
        ids: list[int] = []
        for word in _WORD.findall(text.lower()):
            number = self._whole_words.get(word)
            if number is None:
                ids += self._pieces(word)
            else:
                ids.append(number)
        return ids or [_UNKNOWN]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def logits(self, text: str) -> Singles:
        """The worst logit of each head over all readings and windows of the text, shape (k,)."""
        worst: Singles | None = None
        for reading in readings(text):
            ids = np.array(self.tokens(reading), dtype=np.int64)
            spans = [ids[:_WHOLE]]
            if len(ids) > WINDOW:
                spans += [ids[start : start + WINDOW] for start in range(0, len(ids) - WINDOW // 4, STRIDE)]
            for span in spans:
                found = self._forward(span)
                worst = found if worst is None else np.maximum(worst, found)
        if worst is None:
            raise ValueError("a text has at least one reading")
        return worst

    def _forward(self, ids: NDArray[np.int64]) -> Singles:
        weights = self._weights
        embedded = self._embedding.take(ids, axis=0)
        attention = self._attention.take(ids)
        pooled = [attention @ embedded / attention.sum(), embedded.max(axis=0)]
        products = iter(self._products)
        for offsets, bias in zip(CONVOLUTIONS.values(), self._convolution_bias, strict=True):
            total = np.zeros((len(ids), len(bias)), dtype=np.float32)
            for offset in offsets:
                _add_shifted(total, next(products).take(ids, axis=0), offset)
            pooled.append(np.maximum(total.max(axis=0) + bias, 0.0))
        features = np.concatenate(pooled)
        features -= features.sum() / len(features)
        features /= math.sqrt(float(features @ features) / len(features) + _LAYER_NORM_EPSILON)
        hidden = np.maximum(features @ self._hidden + self._hidden_bias, 0.0)
        direct = self._direct.take(ids, axis=0).sum(axis=0, dtype=np.int32) * self._direct_scale / math.sqrt(len(ids))
        result: Singles = hidden @ weights.output + weights.output_bias + direct.astype(np.float32)
        return result


def _add_shifted(total: Singles, products: Singles, offset: int) -> None:
    """Add to position t the product of the token at t + offset; beyond the text there is nothing to add."""
    if offset == 0:
        total += products
    elif offset > 0:
        total[:-offset] += products[offset:]
    else:
        total[-offset:] += products[:offset]
