"""How far stated probabilities are from what happens: adaptive calibration error, its noise floor, and its drift.

The gap of a bin is mean label minus mean probability; the error is the mean absolute gap, weighted by the bins' sizes.
Of a perfect predictor the measured error is not 0 but the noise floor, which shrinks as sqrt(bins / n) only, so a limit
below the floor cannot be checked with the data at hand: the verdict is then INSUFFICIENT.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import CONFIDENCE, Floats, InsufficientDataError, Verdict, sample, share

BINS: Final = 15
FEWEST_PER_BIN: Final = 10


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Figures in units of probability. `bins` may be fewer than asked for: equal probabilities stay together."""

    n: int
    bins: int
    plain: float
    """Mean absolute gap as measured, noise included."""
    debiased: float
    """The same less its bias, at least 0."""
    squared: float
    """Debiased mean squared gap; below 0 where there is less error than noise alone would show."""
    floor: float
    """What `plain` would be on average if there were no error."""
    lower: float
    upper: float
    """Bounds of the true error, each at one-sided `confidence` or better, as both allow for the whole bias."""
    confidence: float

    def judge(self, limit: float) -> Verdict:
        """PASS if the error is shown to be at most `limit`, FAIL if shown to be above, else INSUFFICIENT."""
        if self.floor > limit:
            return Verdict.INSUFFICIENT
        if self.upper <= limit:
            return Verdict.PASS
        return Verdict.FAIL if self.lower > limit else Verdict.INSUFFICIENT


@dataclass(frozen=True, slots=True)
class _Gaps:
    """One entry a bin: its gap, the standard error of the gap, and its part of the data."""

    gap: Floats
    error: Floats
    weight: Floats
    chance: Floats
    """Standard error of the gap if its true value were 0; a bin whose labels are all alike has an `error` near 0."""


def adaptive_calibration_error(
    probabilities: ArrayLike,
    labels: NDArray[np.bool_],
    *,
    bins: int = BINS,
    confidence: float = CONFIDENCE,
) -> CalibrationError:
    """Calibration error over bins of equal mass (Nixon et al. 2019), debiased (Kumar et al. 2019; Roelofs et al. 2022).

    The squared error is debiased exactly (Brocker 2012; Ferro and Fricker 2012), the absolute one by the mean of a
    folded normal. The bounds take the bins' gaps as normal.

    Args:
        probabilities: stated probability of label 1, shape (n,), in [0, 1].
        labels: what happened, shape (n,).

    Raises:
        InvalidInputError: shapes differ, a probability outside [0, 1], fewer than 1 bin.
        InsufficientDataError: fewer than 10 labels a bin.
    """
    stated, happened = _forecasts(probabilities, labels, "probabilities")
    gaps = _gaps(stated, happened, _starts(stated, bins))
    return _measured(gaps, len(stated), confidence)


def calibration_drift(
    reference: tuple[ArrayLike, NDArray[np.bool_]],
    window: tuple[ArrayLike, NDArray[np.bool_]],
    *,
    bins: int = BINS,
    confidence: float = CONFIDENCE,
) -> CalibrationError:
    """How far the gaps of a window lie from those of a reference, over bins of equal mass of both together.

    The calibration error itself cannot have moved by more (triangle inequality), and a turn from over- to
    underconfidence is seen too. `n` is the size of the smaller set; the floor needs twice the labels in each.

    Args:
        reference, window: (probabilities, labels) of two independent sets, shapes as above.

    Raises:
        InvalidInputError, InsufficientDataError: as `adaptive_calibration_error`, or a bin too thin in either set.
    """
    before, after = _forecasts(*reference, "reference"), _forecasts(*window, "window")
    pooled = np.sort(np.concatenate([before[0], after[0]]))
    edges = pooled[_starts(pooled, bins)]
    parts = []
    for name, (stated, happened) in (("reference", before), ("window", after)):
        starts = np.searchsorted(stated, edges)
        if np.diff([*starts, len(stated)]).min() < FEWEST_PER_BIN:
            raise InsufficientDataError(f"a bin of the {name} has fewer than {FEWEST_PER_BIN} labels", field=name)
        parts.append(_gaps(stated, happened, starts))
    old, new = parts
    moved = _Gaps(
        gap=new.gap - old.gap,
        error=np.hypot(new.error, old.error),
        weight=(new.weight * len(after[0]) + old.weight * len(before[0])) / len(pooled),
        chance=np.hypot(np.maximum(new.error, new.chance), np.maximum(old.error, old.chance)),
    )
    return _measured(moved, min(len(before[0]), len(after[0])), confidence)


def labels_for_limit(limit: float, *, bins: int = BINS, variance: float = 0.25, confidence: float = CONFIDENCE) -> int:
    """Labels at which a predictor without any error passes `limit` on average: its floor and margin have sunk so far.

    Args:
        limit: calibration error, in units of probability.
        variance: mean of p (1 - p) over the probabilities, at most 0.25.

    Raises:
        InvalidInputError: a share outside (0, 1), fewer than 1 bin, or a variance outside (0, 0.25].
    """
    from scipy.special import ndtri

    if bins < 1 or not 0 < variance <= 0.25:
        raise InvalidInputError("name at least 1 bin and a variance in (0, 0.25]", field="bins")
    reach = sqrt(2 * bins / pi) + float(ndtri(share(confidence, "confidence")))
    return ceil(variance * (reach / share(limit, "limit")) ** 2)


def _forecasts(probabilities: ArrayLike, labels: NDArray[np.bool_], name: str) -> tuple[Floats, Floats]:
    """Probabilities and labels, sorted by probability."""
    stated = sample(probabilities, name, at_least=FEWEST_PER_BIN)
    if labels.shape != stated.shape:
        raise InvalidInputError("probabilities and labels must have the same shape", field="labels")
    if stated.min() < 0 or stated.max() > 1:
        raise InvalidInputError("a probability lies outside [0, 1]", field=name)
    order = np.argsort(stated, kind="stable")
    return stated[order], labels[order].astype(np.float64)


def _starts(stated: Floats, bins: int) -> NDArray[np.intp]:
    """Where each bin begins among sorted probabilities."""
    if bins < 1:
        raise InvalidInputError("there must be at least 1 bin", field="bins")
    if len(stated) < bins * FEWEST_PER_BIN:
        raise InsufficientDataError(f"{len(stated)} labels; {bins} bins need {bins * FEWEST_PER_BIN}", field="labels")
    # Each cut is moved to the start of the run of equal probabilities that it would split.
    starts = np.searchsorted(stated, stated[np.arange(bins) * len(stated) // bins])
    return _without_small(np.unique(starts))


def _gaps(stated: Floats, happened: Floats, starts: NDArray[np.intp]) -> _Gaps:
    size = np.diff([*starts, len(stated)]).astype(np.float64)
    shown = happened - stated
    gap = np.add.reduceat(shown, starts) / size
    spread = np.add.reduceat(shown**2, starts) / size - gap**2
    chance = np.add.reduceat(stated * (1 - stated), starts) / size
    return _Gaps(
        gap=gap,
        error=np.sqrt(np.maximum(spread, 0.0) / (size - 1)),
        weight=size / len(stated),
        chance=np.sqrt(chance / size),
    )


def _measured(gaps: _Gaps, n: int, confidence: float) -> CalibrationError:
    from scipy.special import ndtri

    plain = _error(gaps)
    # Noise adds to the mean of |gap|, and by no more than if the gap were 0; it spreads |gap| no more than the gap.
    noise = gaps.weight * np.maximum(gaps.error, gaps.chance)
    bias = sqrt(2 / pi) * float(noise.sum())
    margin = float(ndtri(share(confidence, "confidence")) * sqrt((noise**2).sum()))
    return CalibrationError(
        n=n,
        bins=len(gaps.gap),
        plain=plain,
        debiased=max(0.0, _debiased(gaps)),
        squared=float((gaps.weight * (gaps.gap**2 - gaps.error**2)).sum()),
        floor=sqrt(2 / pi) * float((gaps.weight * gaps.chance).sum()),
        lower=max(0.0, plain - bias - margin),
        upper=min(1.0, plain + margin),
        confidence=confidence,
    )


def _without_small(starts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Bins that ties have left with too few labels join the next one; the last never has, as cuts move down only."""
    kept = [0]
    for start in starts[1:]:
        if start - kept[-1] >= FEWEST_PER_BIN:
            kept.append(int(start))
    return np.array(kept, dtype=np.intp)


def _error(gaps: _Gaps) -> float:
    return float((gaps.weight * np.abs(gaps.gap)).sum())


def _debiased(gaps: _Gaps) -> float:
    """Twice the error less what it becomes when its own noise is added once more."""
    from scipy.special import ndtr

    ratio = np.divide(gaps.gap, gaps.error, out=np.zeros_like(gaps.gap), where=gaps.error > 0)
    folded = gaps.error * sqrt(2 / pi) * np.exp(-(ratio**2) / 2) + gaps.gap * (1 - 2 * ndtr(-ratio))
    folded = np.where(gaps.error > 0, folded, np.abs(gaps.gap))
    return 2 * _error(gaps) - float((gaps.weight * folded).sum())
