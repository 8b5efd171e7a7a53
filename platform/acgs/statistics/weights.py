"""Whether importance weights carry enough evidence: effective sample size, tail index, support.

The weights are target probability / logged probability of the action taken, never clipped: clipping forces every one of
these figures to look good.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log10, sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import Floats, InsufficientDataError, sample, share

FEWEST: Final = 25
"""The tail index is fitted to at least 5 weights, and the tail is at most a fifth of them."""
_TAIL_FEWEST: Final = 5
_PRIOR_WEIGHT: Final = 10
"""Weight of the prior k = 0.5, in observations (Vehtari et al. 2024, appendix C)."""


@dataclass(frozen=True, slots=True)
class WeightDiagnostics:
    """What a set of importance weights can support."""

    n: int
    effective: float
    """Effective sample size, in samples."""
    effective_share: float
    pareto_k: float
    largest_share: float
    """Part of the total weight that lies on the one heaviest sample."""
    usable_below: float
    """The tail index up to which smoothed estimates may be used at this n."""


def diagnose_weights(weights: ArrayLike) -> WeightDiagnostics:
    """All the diagnostics of one set of weights.

    Raises:
        InvalidInputError: a weight that is negative or not finite.
        InsufficientDataError: fewer than 25 weights, or weights that are all 0.
    """
    values = _weights(weights, FEWEST)
    effective = effective_sample_size(values)
    return WeightDiagnostics(
        n=len(values),
        effective=effective,
        effective_share=effective / len(values),
        pareto_k=pareto_k(values),
        largest_share=float(values.max() / values.sum()),
        usable_below=usable_pareto_k(len(values)),
    )


def effective_sample_size(weights: ArrayLike) -> float:
    """(sum w)^2 / sum w^2, in samples (Kish 1965); n for equal weights, 1 if one weight has it all.

    Raises:
        InvalidInputError: a weight that is negative or not finite.
        InsufficientDataError: no weights, or weights that are all 0.
    """
    values = _weights(weights, 1)
    # Relative to the largest, so that squares neither overflow nor vanish.
    relative = values / values.max()
    return float(relative.sum() ** 2 / (relative**2).sum())


def pareto_k(weights: ArrayLike) -> float:
    """Tail index k-hat of the weights (Vehtari et al. 2024, JMLR 25:72): below 0.5 their variance is finite.

    A generalised Pareto law is fitted to the largest min(n / 5, 3 sqrt(n)) weights.

    Returns:
        -inf if the whole tail is one and the same value, so that the weights are seen to be bounded; inf if fewer than
        5 weights stand out from the rest, so that a few samples decide and nothing can be fitted.

    Raises:
        InvalidInputError: a weight that is negative or not finite.
        InsufficientDataError: fewer than 25 weights, or weights that are all 0.
    """
    ordered = np.sort(_weights(weights, FEWEST))
    tail = ceil(min(len(ordered) / 5, 3 * sqrt(len(ordered))))
    cutoff = ordered[-tail - 1]
    beyond = ordered[-tail:] - cutoff
    beyond = beyond[beyond > 0] / ordered[-1]
    if len(beyond) == 0:
        return -inf
    return _generalised_pareto_shape(beyond) if len(beyond) >= _TAIL_FEWEST else inf


def usable_pareto_k(n: int) -> float:
    """min(1 - 1 / log10(n), 0.7): up to this k-hat smoothed estimates from n samples may be used (same source).

    Raises:
        InsufficientDataError: fewer than 25 samples.
    """
    if n < FEWEST:
        raise InsufficientDataError(f"{n} weights; the tail index needs {FEWEST}", field="n")
    return min(1 - 1 / log10(n), 0.7)


def hill_index(weights: ArrayLike, *, tail: float = 0.1) -> float:
    """Hill's estimate (Hill 1975) of the tail index over the largest `tail` of the weights; cheap, and at least 0.

    Raises:
        InvalidInputError: a weight that is negative or not finite, or `tail` outside (0, 1).
        InsufficientDataError: fewer than 5 weights in the tail, or a tail that reaches down to weights of 0.
    """
    ordered = np.sort(_weights(weights, 1))
    count = int(share(tail, "tail") * len(ordered))
    if count < _TAIL_FEWEST or count >= len(ordered) or ordered[-count - 1] <= 0:
        raise InsufficientDataError("Hill's estimate needs 5 positive weights in the tail and one below", field="tail")
    return float(np.log(ordered[-count:] / ordered[-count - 1]).mean())


def unsupported_mass(target: ArrayLike, logged: ArrayLike) -> float:
    """Mean probability that the target policy puts on actions which the logging policy never takes, in [0, 1].

    No weight can show it: a sample of such an action does not exist.

    Args:
        target, logged: probability of each action in each context, shape (n, actions); rows sum to 1.

    Raises:
        InvalidInputError: shapes differ, or a row is no probability distribution.
        InsufficientDataError: no contexts.
    """
    wanted, taken = _policy(target, "target"), _policy(logged, "logged")
    if wanted.shape != taken.shape:
        raise InvalidInputError("target and logged must have the same shape", field="logged")
    if not len(wanted):
        raise InsufficientDataError("support is judged over contexts; log some", field="logged")
    return float(np.where(taken == 0, wanted, 0.0).sum(axis=1).mean())


def _weights(weights: ArrayLike, at_least: int) -> Floats:
    values = sample(weights, "weights", at_least=at_least)
    if values.min() < 0:
        raise InvalidInputError("a weight is negative; weights are ratios of probabilities", field="weights")
    if values.max() == 0:
        raise InsufficientDataError("every weight is 0: the log holds nothing of what the target does", field="weights")
    return values


def _policy(probabilities: ArrayLike, name: str) -> Floats:
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or not ((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1.0, atol=1e-6)):
        raise InvalidInputError(f"each row of {name} must hold probabilities that sum to 1", field=name)
    return rows


def _generalised_pareto_shape(beyond: Floats) -> float:
    """Shape of a generalised Pareto law (Zhang and Stephens 2009), drawn towards 0.5 as Vehtari et al. 2024 do.

    Args:
        beyond: sorted exceedances, all positive, shape (m,).
    """
    m = len(beyond)
    points = 30 + int(sqrt(m))
    grid = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    grid = grid / (3 * beyond[int(m / 4 + 0.5) - 1]) + 1 / beyond[-1]
    shapes = np.log1p(-grid[:, None] * beyond).mean(axis=1)
    likelihood = m * (np.log(-grid / shapes) - shapes - 1)
    posterior = np.exp(likelihood - likelihood.max())
    theta = float((grid * posterior).sum() / posterior.sum())
    shape = float(np.log1p(-theta * beyond).mean())
    return (m * shape + _PRIOR_WEIGHT * 0.5) / (m + _PRIOR_WEIGHT)
