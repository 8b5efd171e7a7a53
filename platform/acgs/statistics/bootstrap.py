"""One-sided bounds for the mean, or a change of quantile, of paired measurements.

The unit of resampling is the pair (a query under two configurations), or the cluster of pairs where several pairs share
a user or a template. Each bound holds alone at `confidence`; both together form an interval at 2 * confidence - 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import CONFIDENCE, Floats, InsufficientDataError, sample, share

RESAMPLES: Final = 10_000
FEWEST: Final = 20
"""Below this many independent units, bootstrap bounds of a mean cover too little (Hesterberg 2015)."""
FEWEST_BEYOND: Final = 5
"""Independent units that a quantile needs beyond it, on average, for bounds of its change."""
_DRAWS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate in the unit of its data, with its lower and upper bound at one-sided `confidence`."""

    estimate: float
    lower: float
    upper: float
    confidence: float
    pairs: int
    units: int
    """Independent units: clusters where there are any, else pairs."""
    method: str


def paired_t(deltas: ArrayLike, *, confidence: float = CONFIDENCE, clusters: NDArray[np.int64] | None = None) -> Bounds:
    """Student's t bounds of the mean delta; with clusters, the cluster-robust error (Liang and Zeger 1986).

    Args:
        deltas: candidate minus baseline, shape (n,).
        clusters: cluster number of each pair, shape (n,).

    Raises:
        InvalidInputError: values that are not finite, shapes that differ, `confidence` outside (0, 1).
        InsufficientDataError: fewer than 20 units, or deltas that do not vary.
    """
    from scipy.stats import t

    share(confidence, "confidence")
    sums, sizes = _units(deltas, clusters)
    n, units = int(sizes.sum()), len(sums)
    mean = float(sums.sum() / n)
    error = sqrt(units / (units - 1) * ((sums - mean * sizes) ** 2).sum()) / n
    margin = float(t.ppf(confidence, units - 1)) * error
    return Bounds(mean, mean - margin, mean + margin, confidence, n, units, "t")


def paired_bca(
    deltas: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    clusters: NDArray[np.int64] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bounds:
    """Bias-corrected and accelerated bootstrap bounds of the mean delta (Efron 1987).

    Args:
        deltas: candidate minus baseline, shape (n,).
        clusters: cluster number of each pair, shape (n,); whole clusters are resampled.

    Raises:
        InvalidInputError: values that are not finite, shapes that differ, `confidence` outside (0, 1).
        InsufficientDataError: fewer than 20 units, or deltas that do not vary.
    """
    from scipy.special import ndtr, ndtri

    share(confidence, "confidence")
    sums, sizes = _units(deltas, clusters)
    mean = float(sums.sum() / sizes.sum())
    if clusters is None:
        drawn = [sums.take(rows).mean(axis=1) for rows in _resampled(len(sums), resamples, seed)]
    else:
        drawn = [
            sums.take(rows).sum(axis=1) / sizes.take(rows).sum(axis=1)
            for rows in _resampled(len(sums), resamples, seed)
        ]
    means = np.concatenate(drawn)
    bias = ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    # Jackknife over the units: leaving one out moves the mean against its own deviation.
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    moved = left_out.mean() - left_out
    acceleration = (moved**3).sum() / (6 * (moved**2).sum() ** 1.5)
    z = bias + ndtri(np.array([1 - confidence, confidence]))
    lower, upper = np.quantile(means, ndtr(bias + z / (1 - acceleration * z)))
    return Bounds(mean, float(lower), float(upper), confidence, int(sizes.sum()), len(sums), "bca")


def paired_quantile_change(
    baseline: ArrayLike,
    candidate: ArrayLike,
    quantile: float,
    *,
    confidence: float = CONFIDENCE,
    clusters: NDArray[np.int64] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Bounds:
    """Percentile bootstrap bounds of quantile(candidate) - quantile(baseline) over the same requests.

    The bounds are those of `quantile_confidence`.

    Args:
        baseline, candidate: measurements of the same requests in the same order, shape (n,), in any one unit.
        quantile: for instance 0.95 for a p95.
        clusters: cluster number of each pair, shape (n,), as of a request that is timed again; whole clusters are
            resampled.

    Raises:
        InvalidInputError: values that are not finite, shapes that differ, shares outside (0, 1).
        InsufficientDataError: fewer than 20 pairs beyond the quantile on its thinner side, or too few clusters.
    """
    share(confidence, "confidence")
    needed = units_for(quantile, FEWEST)
    before, after = sample(baseline, "baseline", at_least=needed), sample(candidate, "candidate", at_least=needed)
    if before.shape != after.shape:
        raise InvalidInputError("baseline and candidate must measure the same requests", field="candidate")
    units = len(before) if clusters is None else len(np.unique(clusters))
    used = quantile_confidence(confidence, quantile, units)
    drawn = resampled_quantiles((before, after), (quantile,), clusters, resamples, seed)
    changes = np.concatenate([of[1, :, 0] - of[0, :, 0] for of in drawn])
    lower, upper = np.quantile(changes, [1 - used, used])
    change = float(np.quantile(after, quantile) - np.quantile(before, quantile))
    return Bounds(change, float(lower), float(upper), confidence, len(before), units, "percentile")


def units_for(quantile: float, beyond: int) -> int:
    """Units of which `beyond` are expected on the thinner side of a quantile."""
    return int(np.ceil(beyond / min(share(quantile, "quantile"), 1 - quantile) - 1e-9))


def quantile_confidence(confidence: float, quantile: float, units: int) -> float:
    """The confidence at which to read percentile bounds of a quantile's change, so that they hold at `confidence`.

    With fewer than 20 units beyond the quantile the resamples reach too little further than what was seen, and bounds
    miss too often; half of the error is spent then. Where the values jump at the quantile itself that is not enough.

    Raises:
        InsufficientDataError: fewer than 5 units are expected beyond the quantile.
    """
    if units < units_for(quantile, FEWEST_BEYOND):
        raise InsufficientDataError(
            f"{units} units; bounds of the quantile {quantile:g} need {units_for(quantile, FEWEST_BEYOND)}",
            field="clusters",
        )
    return confidence if units >= units_for(quantile, FEWEST) else (1 + confidence) / 2


def resampled_quantiles(
    sides: Sequence[Floats],
    quantiles: Sequence[float],
    clusters: NDArray[np.int64] | None,
    resamples: int,
    seed: int,
) -> Iterator[Floats]:
    """Quantiles of measurements of the same requests, resampled together.

    Args:
        sides: each of shape (n,).
        clusters: cluster number of each request, shape (n,); whole clusters are resampled.

    Yields:
        Portions of shape (sides, some resamples, quantiles).

    Raises:
        InvalidInputError: shapes that differ.
        InsufficientDataError: fewer than 20 clusters.
    """
    n = len(sides[0])
    member = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    if len(member) != n:
        raise InvalidInputError("clusters and measurements must have the same shape", field="clusters")
    units = int(member.max()) + 1
    if units < FEWEST:
        raise InsufficientDataError(f"{units} clusters; bounds need at least {FEWEST}", field="clusters")
    ordered = [(values[order], member[order]) for values in sides for order in [np.argsort(values, kind="stable")]]
    rng = np.random.default_rng(seed)
    portion = max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, resamples, portion):
        # How often each unit was drawn is all that quantiles need.
        drawn = rng.multinomial(units, np.full(units, 1 / units), size=min(portion, resamples - start))
        yield np.stack([_weighted_quantiles(values, drawn[:, of], quantiles) for values, of in ordered])


def _weighted_quantiles(values: Floats, weights: NDArray[np.int64], quantiles: Sequence[float]) -> Floats:
    """Quantiles (the inverse of the distribution function) of ascending values, shape (resamples, quantiles).

    Args:
        weights: (resamples, values)
    """
    reached = weights.cumsum(axis=1)
    places = [(reached < share * reached[:, -1:]).sum(axis=1) for share in quantiles]
    found: Floats = values[np.stack(places, axis=1)]
    return found


def _units(deltas: ArrayLike, clusters: NDArray[np.int64] | None) -> tuple[Floats, Floats]:
    """Sum and number of the deltas of each independent unit."""
    values = sample(deltas, "deltas", at_least=FEWEST)
    sums, sizes = values, np.ones_like(values)
    if clusters is not None:
        if clusters.shape != values.shape:
            raise InvalidInputError("clusters and deltas must have the same shape", field="clusters")
        member = np.unique(clusters, return_inverse=True)[1]
        sums = np.bincount(member, weights=values).astype(np.float64)
        sizes = np.bincount(member, weights=sizes).astype(np.float64)
        if len(sums) < FEWEST:
            raise InsufficientDataError(f"{len(sums)} clusters; bounds need at least {FEWEST}", field="clusters")
    # A spread of rounding errors only is no variation.
    if np.ptp(sums / sizes) <= 1e-12 * abs(values).max():
        raise InsufficientDataError(
            "the deltas do not vary, so resampling supports no bound; use bounds.disagreement_lower", field="deltas"
        )
    return sums, sizes


def _resampled(units: int, resamples: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """Which units were drawn, in portions of shape (some resamples, units), to bound memory."""
    rng = np.random.default_rng(seed)
    portion = max(1, _DRAWS_AT_ONCE // units)
    for start in range(0, resamples, portion):
        yield rng.integers(0, units, size=(min(portion, resamples - start), units), dtype=np.int32)
