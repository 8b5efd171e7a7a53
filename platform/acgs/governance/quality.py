"""How well a guard bundle tells violating texts from compliant ones, tier by tier and group by group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acgs.governance.decision import COMPREHENSIVE, INLINE, Governor
from acgs.governance.evaluation import BATCH, SecondTierLogits
from acgs.governance.scenarios.example import TextExample
from acgs.statistics.classification import Quality, measure

Floats = NDArray[np.float64]
Advance = Callable[[int], None]
"""Told how many texts were scored since the last call."""


@dataclass(frozen=True, slots=True)
class TierQuality:
    """A tier's figures over all texts, and over each group that has more than one text."""

    overall: Quality
    groups: dict[str, Quality]


def inline_scores(governor: Governor, texts: Iterable[str], advance: Advance) -> Floats:
    """Forest score of each text by the inline encoder, shape (n,)."""
    scores = []
    for text in texts:
        scores.append(governor.text_score(governor.bundle.encoder.logits(text), INLINE))
        advance(1)
    return np.array(scores)


def comprehensive_scores(
    governor: Governor, texts: Sequence[str], second_tier: SecondTierLogits, advance: Advance
) -> Floats:
    """Forest score of each text by the second tier, shape (n,); every text is put before it, not only uncertain ones.

    Raises what `second_tier` raises.
    """
    scores: list[float] = []
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        scores += [governor.text_score(row, COMPREHENSIVE) for row in second_tier(list(batch))]
        advance(len(batch))
    return np.array(scores)


def tier_quality(scores: Floats, examples: Sequence[TextExample], *, threshold: float, seed: int = 0) -> TierQuality:
    """Figures with intervals; over all texts whole groups are resampled, within a group its texts."""
    labels = np.array([example.violates for example in examples], dtype=bool)
    names, members, sizes = np.unique(
        np.array([example.group for example in examples]), return_inverse=True, return_counts=True
    )
    # One group for all says nothing about how groups vary: then texts are resampled.
    clusters = members if len(names) > 1 else None
    return TierQuality(
        overall=measure(scores, labels, threshold=threshold, groups=clusters, seed=seed),
        groups={
            str(names[number]): measure(
                scores[members == number], labels[members == number], threshold=threshold, seed=seed
            )
            for number in np.flatnonzero(sizes > 1)
        },
    )
