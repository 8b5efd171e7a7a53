"""How faithful the tables are to the teacher, and what they may cost against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from acgs.errors import InvalidInputError
from acgs.statistics.bootstrap import FEWEST, paired_bca
from acgs.statistics.bounds import disagreement_lower
from acgs.statistics.evidence import CONFIDENCE, Floats, sample

MARGIN: Final = 0.005
"""Loss of nDCG@10 that may be called none: a smaller one needs hundreds of thousands of queries to rule out."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Agreement of the tables with the teacher's out-of-fold predictions of one output.

    Figures are None where the teacher predicts the same for all queries.
    """

    r2: float | None
    """Of the tables as shipped, on the queries to which they were fitted."""
    held_out_r2: float | None
    """Of tables fitted in the same way to the other folds."""
    rank_agreement: float | None
    """Spearman's correlation (1904), held out."""
    decision_agreement: float | None
    """Share of queries on the same side of every threshold, held out; None before there are any."""


@dataclass(frozen=True, slots=True)
class NoRegret:
    """Lower bound of the mean delta, distilled router minus teacher, on the same queries."""

    holds: bool
    """Whether the loss is shown to be at most `margin`."""
    lower: float
    margin: float
    confidence: float
    n: int
    differing: int
    """Queries on which the two differ at all."""
    method: str


def fidelity(teacher: Floats, shipped: Floats, held_out: Floats) -> Fidelity:
    """Compare predictions of the same queries, each of shape (n,)."""
    from scipy.stats import spearmanr

    varied = _varies(teacher) and _varies(held_out)
    return Fidelity(
        r2=_r2(teacher, shipped),
        held_out_r2=_r2(teacher, held_out),
        rank_agreement=float(spearmanr(teacher, held_out).statistic) if varied else None,
        decision_agreement=None,
    )


def decision_agreement(teacher: Floats, held_out: Floats, thresholds: Sequence[float]) -> float:
    """Share of queries whose two predictions, each of shape (n,), lie on the same side of every threshold."""
    edges = np.sort(np.asarray(thresholds, dtype=np.float64))
    return float((np.searchsorted(edges, teacher, "right") == np.searchsorted(edges, held_out, "right")).mean())


def no_regret(deltas: ArrayLike, *, margin: float = MARGIN, confidence: float = CONFIDENCE, seed: int = 0) -> NoRegret:
    """Bound what is lost by reading the tables instead of asking the teacher.

    Two bounds share alpha: one counts the queries that differ and assumes nothing, the other resamples the deltas.

    Args:
        deltas: nDCG@10 with the tables minus that with the teacher, on the same queries, shape (n,).
        margin: at least half a point.

    Raises:
        InvalidInputError: a smaller margin, or a delta outside [-1, 1] or not finite.
        InsufficientDataError: no deltas.
    """
    if margin < MARGIN:
        raise InvalidInputError(f"a margin below {MARGIN:g} promises what no set of queries can show", field="margin")
    values = sample(deltas, "deltas")
    each, differing = 1 - (1 - confidence) / 2, int((values != 0).sum())
    lower, method = disagreement_lower(values, confidence=each), "clopper-pearson on differing queries"
    # Resampling learns nothing from a few differing queries, nor from deltas that are all the same.
    if differing >= FEWEST and _varies(values):
        resampled = paired_bca(values, confidence=each, seed=seed).lower
        if resampled > lower:
            lower, method = resampled, "bca"
    return NoRegret(lower >= -margin, lower, margin, confidence, len(values), differing, method)


def _r2(teacher: Floats, student: Floats) -> float | None:
    if not _varies(teacher):
        return None
    return 1 - float(((teacher - student) ** 2).sum() / ((teacher - teacher.mean()) ** 2).sum())


def _varies(values: Floats) -> bool:
    """A spread of rounding errors only is no variation."""
    return bool(np.ptp(values) > 1e-12 * abs(values).max())
