"""Split conformal prediction: a band for two classes, a cut per slice, and the law by which its coverage is judged.

Mondrian means a promise for each class or slice by itself (Vovk et al. 2005, ch. 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import CONFIDENCE, InsufficientDataError, Verdict, sample, share

Floats = NDArray[np.float64]

WIDEST: Final = 0.04
"""An acceptance interval as wide as 93-97 % for a promise of 95 %; a wider one lets nearly anything pass."""


@dataclass(frozen=True, slots=True)
class Band:
    """The two cuts. 'violate' stays possible from `violate_from` up, 'comply' up to `comply_to`."""

    violate_from: float
    comply_to: float

    def decide(self, score: float) -> str:
        """`violate` or `comply` where one alone is possible, else `uncertain`."""
        may_violate = score >= self.violate_from
        may_comply = score <= self.comply_to
        if may_violate == may_comply:
            return "uncertain"
        return "violate" if may_violate else "comply"

    def leads_to(self, verdict: str, scores: Floats) -> NDArray[np.bool_]:
        """Which of the scores, of shape (n,), would be decided so; the same as `decide` on each."""
        may_violate, may_comply = scores >= self.violate_from, scores <= self.comply_to
        undecided: NDArray[np.bool_] = may_violate == may_comply
        if verdict == "uncertain":
            return undecided
        chosen: NDArray[np.bool_] = ~undecided & (may_violate if verdict == "violate" else may_comply)
        return chosen


def conformal_band(scores: Floats, violates: NDArray[np.bool_], alpha: float) -> Band:
    """Cuts such that each class's true label is excluded with probability at most `alpha` (exchangeable data).

    With too few scenarios of a class for `alpha` its label is never excluded, so nothing is decided against it.

    Raises:
        ValueError: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError("alpha must lie between 0 and 1")
    positives, negatives = np.sort(scores[violates]), np.sort(scores[~violates])
    rank = floor(alpha * (len(positives) + 1))
    violate_from = float(positives[rank - 1]) if rank >= 1 else -np.inf
    rank = ceil((1 - alpha) * (len(negatives) + 1))
    comply_to = float(negatives[rank - 1]) if rank <= len(negatives) else np.inf
    return Band(violate_from, comply_to)


def conformal_cut(scores: ArrayLike, alpha: float) -> float:
    """The cut that a further exchangeable score exceeds with probability at most `alpha` (Papadopoulos et al. 2002).

    It is the ceil((n + 1)(1 - alpha))-th smallest nonconformity score.

    Raises:
        InvalidInputError: a score that is not finite, or `alpha` outside (0, 1).
        InsufficientDataError: so few scores that no finite cut keeps the promise (n < 1 / alpha - 1).
    """
    ordered = np.sort(sample(scores, "scores"))
    return float(ordered[_rank(len(ordered), alpha) - 1])


def mondrian_cuts(scores: ArrayLike, slices: Sequence[str], alpha: float) -> dict[str, float | None]:
    """One `conformal_cut` per slice; None for a slice with too few scores to promise anything.

    Args:
        scores: nonconformity scores, shape (n,).
        slices: the slice of each score, length n.

    Raises:
        InvalidInputError: a score that is not finite, `alpha` outside (0, 1), or lengths that differ.
    """
    values = sample(scores, "scores", at_least=0)
    if len(slices) != len(values):
        raise InvalidInputError("scores and slices must have the same length", field="slices")
    members: dict[str, list[int]] = {}
    for number, name in enumerate(slices):
        members.setdefault(name, []).append(number)
    cuts: dict[str, float | None] = {}
    for name, numbers in members.items():
        try:
            cuts[name] = conformal_cut(values[numbers], alpha)
        except InsufficientDataError:
            cuts[name] = None
    return cuts


@dataclass(frozen=True, slots=True)
class CoverageCheck:
    """Coverage seen on one slice, and the interval in which it falls with `confidence` if the promise holds."""

    calibrated_on: int
    tested_on: int
    coverage: float
    low: float
    high: float
    verdict: Verdict


def check_coverage(
    covered: int,
    tested_on: int,
    calibrated_on: int,
    alpha: float,
    *,
    confidence: float = CONFIDENCE,
    widest: float = WIDEST,
    over_coverage_fails: bool = True,
) -> CoverageCheck:
    """Judge observed coverage by its exact law, instead of by fixed limits that small slices miss by chance.

    For continuous exchangeable scores the count covered is Beta-binomial(tested_on, k, calibrated_on + 1 - k), where k
    is the rank of the cut (Vovk 2012; Angelopoulos and Bates 2023, section 3.2).

    Args:
        widest: within an acceptance interval wider than this the verdict is INSUFFICIENT instead of PASS.
        over_coverage_fails: False where ties among the scores make more coverage than promised the rule.

    Raises:
        InvalidInputError: not 0 <= covered <= tested_on, or shares outside (0, 1).
        InsufficientDataError: nothing tested, or too few calibration scores for any cut.
    """
    if not 0 <= covered <= tested_on:
        raise InvalidInputError("covered must lie between 0 and the number tested", field="covered")
    low, high = coverage_interval(tested_on, calibrated_on, alpha, confidence=confidence)
    coverage = covered / tested_on
    if coverage < low or (over_coverage_fails and coverage > high):
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.PASS if high - low <= widest else Verdict.INSUFFICIENT
    return CoverageCheck(calibrated_on, tested_on, coverage, low, high, verdict)


def coverage_interval(
    tested_on: int, calibrated_on: int, alpha: float, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Two-sided interval of the observed coverage under the Beta-binomial law (see `check_coverage`).

    Raises:
        InvalidInputError: shares outside (0, 1).
        InsufficientDataError: nothing tested, or too few calibration scores for any cut.
    """
    from scipy.special import betaln, gammaln

    rank, tail = _rank(calibrated_on, alpha), (1 - share(confidence, "confidence")) / 2
    if tested_on < 1:
        raise InsufficientDataError("coverage is seen on test scores; collect some", field="tested_on")
    rest, counts = calibrated_on + 1 - rank, np.arange(tested_on + 1)
    ways = gammaln(tested_on + 1) - gammaln(counts + 1) - gammaln(tested_on - counts + 1)
    law = np.cumsum(np.exp(ways + betaln(counts + rank, tested_on - counts + rest) - betaln(rank, rest)))
    ends = np.searchsorted(law, [tail, 1 - tail])
    return float(ends[0] / tested_on), float(min(ends[1], tested_on) / tested_on)


def _rank(n: int, alpha: float) -> int:
    """Rank of the cut among n scores."""
    # (n + 1)(1 - alpha) may come out a rounding error above the whole number that it is.
    rank = ceil((n + 1) * (1 - share(alpha, "alpha")) - 1e-9)
    if rank > n:
        raise InsufficientDataError(f"{n} scores promise nothing at alpha {alpha:g}; collect more", field="scores")
    return rank
