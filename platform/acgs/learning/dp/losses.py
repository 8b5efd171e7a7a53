"""Losses that keep examples apart.

A loss that a model computes itself from `labels=` divides by the tokens of the whole batch: each example's gradient
then depends on the others, and clipping no longer bounds what one example can change.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy


def per_sequence_loss(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Next-token cross-entropy of each sequence, averaged over that sequence's own target tokens.

    Args:
        logits: shape (batch, length, vocabulary), any float type; the loss is computed in float32.
        labels: token ids, shape (batch, length); position t is predicted from position t - 1.
        mask: true or non-zero where a label counts, shape (batch, length).

    Returns:
        Shape (batch,), in nats; 0 for a sequence without a target.
    """
    targets, counted = labels[:, 1:], mask[:, 1:].bool()
    predicted = logits[:, :-1].float().transpose(1, 2)
    tokens = cross_entropy(predicted, targets.masked_fill(~counted, 0), reduction="none") * counted
    return tokens.sum(1) / counted.sum(1).clamp(min=1)
