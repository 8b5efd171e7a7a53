"""Batches of similar length, and the loss that both tiers are trained with."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

_CHUNK = 20
_PRINCIPLE_WEIGHT = 2.0
_OVERALL_WEIGHT = 2.0


def length_sorted_batches(lengths: Sequence[int], batch_size: int, rng: random.Random) -> list[list[int]]:
    """Shuffled batches whose members have similar lengths, so that little is padding."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * _CHUNK):
        chunk = sorted(order[start : start + batch_size * _CHUNK], key=lambda i: lengths[i])
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
    rng.shuffle(batches)
    return batches


def weighted_head_loss(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy: mean over the principle heads plus the overall head, weighted by example.

    Args:
        scores: logits, shape (batch, heads), the last head being `overall`.
        targets: labels or teacher probabilities of the same shape.
        weights: shape (batch,).
    """
    loss = binary_cross_entropy_with_logits(scores, targets, reduction="none")
    combined = _PRINCIPLE_WEIGHT * loss[:, :-1].mean(dim=1) + _OVERALL_WEIGHT * loss[:, -1]
    return (combined * weights).mean()
