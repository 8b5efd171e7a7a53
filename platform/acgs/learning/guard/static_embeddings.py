"""Static token embeddings distilled from MiniLM: what the transformer says of each token alone, in fewer dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from acgs.governance.second_tier import minilm_directory

_BATCH = 2048
_CLS, _SEP = 101, 102
_RESERVED = 999
"""Rows before the first word piece; left out of the principal components."""


def distil_static_embeddings(width: int) -> NDArray[np.float32]:
    """Embeddings of shape (vocabulary, width), scaled to a mean norm of 1.

    Every token is read by MiniLM as a text of its own; the centred mean vectors are projected on their first `width`
    principal components (the recipe known as model2vec, Tulkens and van Dongen 2024).
    """
    model: Any = AutoModel.from_pretrained(str(minilm_directory()), local_files_only=True).eval()
    vocabulary = model.config.vocab_size
    vectors = []
    with torch.inference_mode():
        for start in range(0, vocabulary, _BATCH):
            tokens = torch.arange(start, min(vocabulary, start + _BATCH))
            ids = torch.stack([torch.full_like(tokens, _CLS), tokens, torch.full_like(tokens, _SEP)], dim=1)
            vectors.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1))
    matrix = torch.cat(vectors).numpy().astype(np.float64)
    matrix -= matrix.mean(axis=0)
    _, _, components = np.linalg.svd(matrix[_RESERVED:], full_matrices=False)
    projected = matrix @ components[:width].T
    scaled: NDArray[np.float32] = (projected / np.linalg.norm(projected, axis=1).mean()).astype(np.float32)
    return scaled
