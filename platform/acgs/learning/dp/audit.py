"""Privacy auditing with one training run (Steinke, Nasr, Jagielski 2023, arXiv:2305.08846).

Each of m canaries is put into the training data or left out by a fair coin. An attacker who sees the result scores the
canaries, guesses "in" for the highest and "out" for the lowest, and abstains between. Under (epsilon, delta)-DP few
guesses can be right; many right guesses bound epsilon from below. A bound above the claim proves the claim wrong; one
below it proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from acgs.errors import InvalidInputError

_BISECTIONS = 40
_LARGEST_EPSILON = 64.0


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What one audit found; `epsilon_lower` holds with probability `confidence`."""

    epsilon_lower: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    correct: int


def audit_canaries(
    scores: NDArray[np.float64],
    included: NDArray[np.bool_],
    *,
    guesses_in: int,
    guesses_out: int,
    delta: float,
    confidence: float = 0.95,
) -> AuditResult:
    """Lower bound on epsilon from canaries whose inclusion was drawn by independent fair coins.

    Args:
        scores: one per canary, higher where the attacker believes more that it was in the data.
        included: the coins.
        guesses_in: how many of the highest scores are called "in"; fixed before scores are seen.
        guesses_out: how many of the lowest are called "out".
        delta: of the claim.
        confidence: of the bound.

    Raises:
        InvalidInputError: no guesses, more guesses than canaries, or shapes that do not fit.
    """
    canaries, guesses = len(scores), guesses_in + guesses_out
    if scores.shape != included.shape or scores.ndim != 1:
        raise InvalidInputError("give one score and one inclusion bit per canary")
    if min(guesses_in, guesses_out) < 0 or not 1 <= guesses <= canaries:
        raise InvalidInputError(f"guess between 1 and {canaries} canaries, not {guesses}", field="guesses_in")
    if not 0 <= delta < 1 or not 0 < confidence < 1:
        raise InvalidInputError("delta lies in [0, 1) and confidence in (0, 1)")
    if not np.isfinite(scores).all():
        raise InvalidInputError("a canary's score is not finite; the audit says nothing")
    order = np.argsort(scores, kind="stable")
    correct = int(included[order[canaries - guesses_in :]].sum()) + int((~included[order[:guesses_out]]).sum())
    lower = epsilon_lower_bound(canaries, guesses, correct, delta=delta, significance=1 - confidence)
    return AuditResult(lower, delta, confidence, canaries, guesses, correct)


def epsilon_lower_bound(canaries: int, guesses: int, correct: int, *, delta: float, significance: float) -> float:
    """Largest epsilon that `correct` right guesses refute at level `significance`; 0 where they refute none."""
    if p_value(canaries, guesses, correct, epsilon=0.0, delta=delta) > significance:
        return 0.0
    low, high = 0.0, _LARGEST_EPSILON
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if p_value(canaries, guesses, correct, epsilon=middle, delta=delta) <= significance:
            low = middle
        else:
            high = middle
    return low


def p_value(canaries: int, guesses: int, correct: int, *, epsilon: float, delta: float) -> float:
    """Bound on the probability of `correct` or more right guesses under (epsilon, delta)-DP: theorem 5.2 of the paper.

    Pure DP makes each guess no better than randomised response; delta adds at most 2 * canaries * delta times the
    steepest average of the binomial's mass just below `correct`.
    """
    accuracy = 1 / (1 + exp(-epsilon))
    tail = float(binom.sf(correct - 1, guesses, accuracy))
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, accuracy))
    steepest = float((below / np.arange(1, correct + 1)).max()) if correct else 0.0
    return min(1.0, tail + 2 * canaries * delta * steepest)
