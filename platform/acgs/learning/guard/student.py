"""Training of the inline encoder by labels and by distillation from the second tier (Hinton et al. 2015)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import pad

from acgs.governance.encoder import CONVOLUTIONS, WINDOW, EncoderWeights
from acgs.learning.guard.batches import length_sorted_batches, weighted_head_loss

_LAYER_NORM_EPSILON = 1e-5
_MARGIN = 2
"""Positions of padding on either side, as far as a convolution reaches."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """Settings of one training."""

    width: int = 128
    filters: int = 64
    hidden: int = 128
    epochs: int = 5
    batch_size: int = 64
    rate: float = 2e-3
    embedding_rate: float = 3e-4
    direct_rate: float = 5e-4
    weight_decay: float = 0.02
    dropout: float = 0.3
    distillation: float = 1.0
    """Weight of the teacher's probabilities beside the labels."""


@dataclass(frozen=True, slots=True)
class StudentData:
    """Token ids with labels and teacher probabilities; `labelled` is 0 where only the teacher speaks."""

    tokens: list[list[int]]
    labels: NDArray[np.float32]
    teacher: NDArray[np.float32]
    labelled: NDArray[np.float32]
    weights: NDArray[np.float32]
    folds: NDArray[np.int64]
    """A text made from a labelled one shares its fold."""

    def take(self, rows: NDArray[np.int64]) -> StudentData:
        """A subset of the rows."""
        return StudentData(
            [self.tokens[i] for i in rows],
            self.labels[rows],
            self.teacher[rows],
            self.labelled[rows],
            self.weights[rows],
            self.folds[rows],
        )


class Student(nn.Module):
    """The torch twin of `acgs.governance.encoder.StaticEncoder`."""

    def __init__(self, embeddings: NDArray[np.float32], heads: int, config: StudentConfig) -> None:
        super().__init__()
        vocabulary, width = embeddings.shape
        self.embedding = nn.Embedding(vocabulary, width, sparse=True)
        self.embedding.weight.data.copy_(torch.from_numpy(embeddings))
        self.attention = nn.Embedding(vocabulary, 1, sparse=True)
        self.direct = nn.Embedding(vocabulary, heads, sparse=True)
        nn.init.zeros_(self.attention.weight)
        nn.init.zeros_(self.direct.weight)
        self.convolutions = nn.ModuleList(
            nn.Linear(len(offsets) * width, config.filters) for offsets in CONVOLUTIONS.values()
        )
        features = 2 * width + len(CONVOLUTIONS) * config.filters
        self.norm = nn.LayerNorm(features, eps=_LAYER_NORM_EPSILON)
        self.hidden = nn.Linear(features, config.hidden)
        self.output = nn.Linear(config.hidden, heads)
        self.dropout = nn.Dropout(config.dropout)
        self.token_dropout = nn.Dropout(config.dropout / 3)

    def forward(self, ids: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, heads) for ids and a 0/1 mask of shape (batch, length)."""
        embedded = self.token_dropout(self.embedding(ids)) * present[..., None]
        length = ids.shape[1]
        attention = torch.softmax(self.attention(ids)[..., 0] + (present - 1) * 1e4, dim=1)
        pooled = [
            (embedded * attention[..., None]).sum(1),
            (embedded + (present[..., None] - 1) * 1e4).max(1).values,
        ]
        padded = pad(embedded, (0, 0, _MARGIN, _MARGIN))
        for layer, offsets in zip(self.convolutions, CONVOLUTIONS.values(), strict=True):
            seen = torch.cat([padded[:, _MARGIN + o : _MARGIN + o + length] for o in offsets], dim=-1)
            pooled.append((torch.relu(layer(seen)) * present[..., None]).max(1).values)
        features = self.dropout(self.norm(torch.cat(pooled, dim=1)))
        hidden = self.dropout(torch.relu(self.hidden(features)))
        direct = (self.direct(ids) * present[..., None]).sum(1) / present.sum(1, keepdim=True).sqrt()
        result: torch.Tensor = self.output(hidden) + direct
        return result


def _padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    present = torch.zeros(len(rows), length)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        present[number, : len(row)] = 1
    return ids, present


def train_student(
    data: StudentData, embeddings: NDArray[np.float32], config: StudentConfig, *, seed: int, report: Report
) -> Student:
    """Train the inline encoder. Texts longer than the scoring window are cut at a random place in every epoch."""
    torch.manual_seed(seed)
    rng = random.Random(seed)  # noqa: S311 - batch order and crops
    model = Student(embeddings, data.labels.shape[1], config)
    # Tables are updated in the rows a batch touches only; a dense update of every row would cost most of the time.
    rates = {"embedding": config.embedding_rate, "direct": config.direct_rate, "attention": config.rate}
    dense = [p for name, p in model.named_parameters() if name.split(".")[0] not in rates]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(dense, lr=config.rate, weight_decay=config.weight_decay),
        torch.optim.SparseAdam([{"params": [getattr(model, n).weight], "lr": rate} for n, rate in rates.items()]),
    ]
    steps = config.epochs * -(-len(data.tokens) // config.batch_size)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda step: min(1.0, (step + 1) / 100) * max(0.02, 1 - step / steps))
        for o in optimizers
    ]
    model.train()
    for epoch in range(config.epochs):
        crops = [_crop(row, rng) for row in data.tokens]
        total = 0.0
        batches = length_sorted_batches([len(row) for row in crops], config.batch_size, rng)
        for batch in batches:
            scores = model(*_padded([crops[i] for i in batch]))
            weights = torch.from_numpy(data.weights[batch])
            by_label = weighted_head_loss(
                scores, torch.from_numpy(data.labels[batch]), weights * torch.from_numpy(data.labelled[batch])
            )
            by_teacher = weighted_head_loss(scores, torch.from_numpy(data.teacher[batch]), weights)
            loss = by_label + config.distillation * by_teacher
            model.zero_grad()
            loss.backward()
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            total += loss.item()
        report(f"inline encoder: epoch {epoch + 1}/{config.epochs} loss {total / len(batches):.3f}")
    return model.eval()


def _crop(row: list[int], rng: random.Random) -> list[int]:
    if len(row) <= 2 * WINDOW:
        return row
    start = rng.randrange(len(row) - 2 * WINDOW + 1)
    return row[start : start + 2 * WINDOW]


def _quantised(matrix: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    scale = np.maximum(np.abs(matrix).max(axis=axis), 1e-8).astype(np.float32) / 127
    return np.round(matrix / np.expand_dims(scale, axis)).astype(np.int8), scale


def export(model: Student, config: StudentConfig) -> EncoderWeights:
    """The arrays that serving needs, tables in 8 bits."""
    state = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    embedding, embedding_scale = _quantised(state["embedding.weight"], axis=1)
    direct, direct_scale = _quantised(state["direct.weight"], axis=0)
    blocks = []
    for number, offsets in enumerate(CONVOLUTIONS.values()):
        matrix = state[f"convolutions.{number}.weight"]
        blocks += [matrix[:, i * config.width : (i + 1) * config.width].T for i in range(len(offsets))]
    return EncoderWeights(
        embedding=embedding,
        embedding_scale=embedding_scale,
        attention=state["attention.weight"][:, 0],
        direct=direct,
        direct_scale=direct_scale,
        convolution=np.stack(blocks).astype(np.float32),
        convolution_bias=np.stack([state[f"convolutions.{n}.bias"] for n in range(len(CONVOLUTIONS))]),
        norm_scale=state["norm.weight"],
        norm_bias=state["norm.bias"],
        hidden=np.ascontiguousarray(state["hidden.weight"].T),
        hidden_bias=state["hidden.bias"],
        output=np.ascontiguousarray(state["output.weight"].T),
        output_bias=state["output.bias"],
    )
