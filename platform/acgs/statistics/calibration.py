"""Turning scores into probabilities: Platt scaling, and isotonic steps that carry their own confidence bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acgs.statistics.bounds import wilson_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CalibrationSteps:
    """A step function from score to probability. Step i covers scores from `edges[i]` up to `edges[i + 1]`."""

    edges: Floats
    probability: Floats
    lower: Floats
    upper: Floats

    def at(self, score: float) -> tuple[float, float, float]:
        """(probability, lower bound, upper bound) at a score."""
        step = int(np.searchsorted(self.edges, score, side="right")) - 1
        step = min(max(step, 0), len(self.probability) - 1)
        return float(self.probability[step]), float(self.lower[step]), float(self.upper[step])


def isotonic_steps(scores: Floats, labels: NDArray[np.bool_], *, min_count: int = 50) -> CalibrationSteps:
    """Isotonic regression (pool adjacent violators, Ayer et al. 1955) with Wilson bounds on each step.

    Steps with fewer than `min_count` scenarios are merged with their neighbour, so that every bound rests on data.

    Raises:
        ValueError: fewer than `min_count` scores, or a score that is not a number.
    """
    from sklearn.isotonic import IsotonicRegression

    if len(scores) < min_count or not np.isfinite(scores).all():
        raise ValueError(f"calibration needs at least {min_count} finite scores")
    order = np.argsort(scores, kind="stable")
    scores, labels = scores[order], labels[order]
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(scores, labels.astype(float))
    starts = [0, *(np.flatnonzero(np.diff(fitted) > 0) + 1).tolist()]
    blocks: list[tuple[int, int]] = []
    for start, end in zip(starts, [*starts[1:], len(scores)], strict=True):
        if blocks and (end - start < min_count or blocks[-1][1] - blocks[-1][0] < min_count):
            blocks[-1] = (blocks[-1][0], end)
        else:
            blocks.append((start, end))
    if len(blocks) > 1 and blocks[-1][1] - blocks[-1][0] < min_count:
        last = blocks.pop()
        blocks[-1] = (blocks[-1][0], last[1])
    counts = [(int(labels[start:end].sum()), end - start) for start, end in blocks]
    bounds = [wilson_interval(positives, n) for positives, n in counts]
    return CalibrationSteps(
        edges=np.array([scores[start] for start, _ in blocks]),
        probability=np.array([positives / n for positives, n in counts]),
        lower=np.array([low for low, _ in bounds]),
        upper=np.array([high for _, high in bounds]),
    )


def platt(logits: Floats, labels: NDArray[np.bool_], weights: Floats | None = None) -> tuple[float, float]:
    """Platt scaling (Platt 1999): slope and intercept so that sigmoid(slope * logit + intercept) is calibrated.

    A head without both labels cannot be calibrated and keeps (1, 0).
    """
    from sklearn.linear_model import LogisticRegression

    if labels.all() or not labels.any():
        return 1.0, 0.0
    model = LogisticRegression(C=1e4).fit(logits[:, None], labels, sample_weight=weights)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
