"""How well scores tell two classes apart: AUPRC, AUROC, F1, recall at a false-positive rate, with bootstrap intervals.

Every figure is a function of the counts of true and false positives at each distinct score, so texts with the same
score are always counted together: AUROC gives a tied pair one half, AUPRC is the step-wise average precision (Davis and
Goadrich 2006), and no cut goes through a tie. A score equal to the threshold counts as a violation. A figure that the
data cannot give (one class only, or nothing at all) is None, never a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
FALSE_POSITIVE_RATE: Final = 0.05

_CELLS_AT_ONCE: Final = 1_000_000
"""Resamples are worked off in portions of about this many counts, to bound memory."""
_ENOUGH_RESAMPLES: Final = 0.9
"""Where fewer resamples hold what a figure needs, an interval would describe the lucky ones only."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the ends of its percentile bootstrap interval; the ends are None where resampling cannot tell."""

    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of one set of scores. `n` texts, `positives` of them labelled 1, drawn in `clusters` groups."""

    n: int
    positives: int
    clusters: int
    figures: dict[str, Estimate | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts over resamples: at and above each distinct score, from the highest down, shape (resamples, scores)."""

    true: Floats
    false: Floats
    at_threshold: int
    """How many distinct scores are at or above the threshold."""

    @property
    def positives(self) -> Floats:
        return self.true[:, -1]

    @property
    def negatives(self) -> Floats:
        return self.false[:, -1]

    def over_threshold(self, counts: Floats) -> Floats:
        return counts[:, self.at_threshold - 1] if self.at_threshold else np.zeros(len(counts))


_Figure = Callable[[_Counts], Floats]
"""One value a resample; NaN where the resample lacks what the figure needs."""


def _share(part: Floats, whole: Floats) -> Floats:
    result: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return result


def _average_precision(counts: _Counts) -> Floats:
    flagged = counts.true + counts.false
    precision = np.divide(counts.true, flagged, out=np.zeros_like(flagged), where=flagged > 0)
    gained = np.diff(counts.true, axis=1, prepend=0.0)
    return np.where(counts.negatives > 0, _share((gained * precision).sum(axis=1), counts.positives), np.nan)


def _area_under_roc(counts: _Counts) -> Floats:
    before = np.concatenate([np.zeros((len(counts.true), 1)), counts.true[:, :-1]], axis=1)
    area = (np.diff(counts.false, axis=1, prepend=0.0) * (before + counts.true) / 2).sum(axis=1)
    return _share(area, counts.positives * counts.negatives)


def _f1(counts: _Counts) -> Floats:
    found = counts.over_threshold(counts.true)
    flagged = found + counts.over_threshold(counts.false)
    both = (counts.positives > 0) & (counts.negatives > 0)
    return np.where(both, _share(2 * found, flagged + counts.positives), np.nan)


def _recall_at(rate: float) -> _Figure:
    """The largest recall among cuts whose false-positive rate is at most `rate`; nothing is interpolated."""

    def recall(counts: _Counts) -> Floats:
        allowed = counts.false <= rate * counts.negatives[:, None]
        best = np.where(allowed, counts.true, 0.0).max(axis=1)
        return np.where(counts.negatives > 0, _share(best, counts.positives), np.nan)

    return recall


def _accuracy(counts: _Counts) -> Floats:
    right = counts.over_threshold(counts.true) + counts.negatives - counts.over_threshold(counts.false)
    return _share(right, counts.positives + counts.negatives)


def _flagged_negatives(counts: _Counts) -> Floats:
    return _share(counts.over_threshold(counts.false), counts.negatives)


def _flagged_positives(counts: _Counts) -> Floats:
    return _share(counts.over_threshold(counts.true), counts.positives)


FIGURES: Final[dict[str, _Figure]] = {
    "auprc": _average_precision,
    "auroc": _area_under_roc,
    "f1": _f1,
    "recall_at_5_percent_false_positives": _recall_at(FALSE_POSITIVE_RATE),
    "accuracy": _accuracy,
    "label_1_over_threshold": _flagged_positives,
    "label_0_over_threshold": _flagged_negatives,
}
"""The figures by name. The first four need both classes, the shares need theirs."""


def measure(
    scores: Floats,
    labels: Bools,
    *,
    threshold: float,
    groups: NDArray[np.int64] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Quality:
    """Work out every figure with its 95 % interval.

    Args:
        scores: larger means likelier to be labelled 1, shape (n,).
        labels: shape (n,).
        threshold: the cut of F1, accuracy and the shares.
        groups: group number of each score, shape (n,); whole groups are resampled (cluster bootstrap, Davison and
            Hinkley 1997, section 3.8), because near-copies say less than their number. None: every score by itself.

    Raises:
        ValueError: the shapes differ, or a score is not a number.
    """
    if scores.shape != labels.shape or (groups is not None and groups.shape != scores.shape):
        raise ValueError("scores, labels and groups must have the same shape")
    if not np.isfinite(scores).all():
        raise ValueError("every score must be a finite number")
    if len(scores) == 0:
        return Quality(0, 0, 0, dict.fromkeys(FIGURES))
    members = np.arange(len(scores)) if groups is None else np.unique(groups, return_inverse=True)[1]
    clusters = int(members.max()) + 1
    count = _counter(scores, labels, threshold)
    whole = count(np.ones((1, len(scores))))
    # One cluster resampled is itself again: an interval of no width that nothing supports.
    drawn = [count(weights) for weights in _bootstrap(members, clusters, resamples, seed)] if clusters > 1 else []
    figures: dict[str, Estimate | None] = {}
    for name, figure in FIGURES.items():
        values = np.concatenate([figure(part) for part in drawn]) if drawn else np.empty(0)
        figures[name] = _estimate(float(figure(whole)[0]), values)
    return Quality(len(scores), int(labels.sum()), clusters, figures)


def _counter(scores: Floats, labels: Bools, threshold: float) -> Callable[[Floats], _Counts]:
    """A function from weights of shape (resamples, n) to counts; the scores are sorted once for all resamples."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    at_threshold = int((ordered[last_of_tie] >= threshold).sum())
    positive = labels[order].astype(np.float64)

    def count(weights: Floats) -> _Counts:
        sorted_weights = weights[:, order]
        true = np.cumsum(sorted_weights * positive, axis=1)[:, last_of_tie]
        false = np.cumsum(sorted_weights * (1 - positive), axis=1)[:, last_of_tie]
        return _Counts(true, false, at_threshold)

    return count


def _bootstrap(members: NDArray[np.int64], clusters: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each score was drawn, in portions of shape (some resamples, n)."""
    rng = np.random.default_rng(seed)
    portion = max(1, _CELLS_AT_ONCE // len(members))
    for start in range(0, resamples, portion):
        rows = min(portion, resamples - start)
        drawn = rng.integers(0, clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        yield counts[:, members].astype(np.float64)


def _estimate(value: float, resampled: Floats) -> Estimate | None:
    if np.isnan(value):
        return None
    defined = resampled[~np.isnan(resampled)]
    if len(defined) == 0 or len(defined) < _ENOUGH_RESAMPLES * len(resampled):
        return Estimate(value, None, None)
    lower, upper = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(lower), float(upper))
