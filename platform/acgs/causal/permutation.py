"""Fisher's randomisation test within strata: is there more association than chance deals out?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.causal.strata import Codes, common_support
from acgs.statistics.evidence import Floats, InsufficientDataError

_DRAWS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class RandomisationTest:
    """A two-sided test of no effect on any row, conditional on the strata."""

    statistic: float
    """Difference of the arms' means, strata weighted by their rows, in the outcome's unit."""
    p_value: float
    resamples: int
    strata: int


def randomisation_test(
    values: Floats, treated: NDArray[np.bool_], strata: Codes, *, resamples: int, seed: int
) -> RandomisationTest:
    """Deal the values out anew within each stratum, and count how often the difference is as large (Fisher 1935).

    p = (1 + #{|T*| >= |T|}) / (1 + resamples), never 0 (Phipson and Smyth 2010). Strata with one arm say nothing and
    are left out.

    Raises:
        InsufficientDataError: no stratum has both arms.
    """
    support = common_support(strata, treated)
    if not support.strata:
        raise InsufficientDataError("no stratum has both arms, so nothing can be compared", field="strata")
    rng = np.random.default_rng(seed)
    seen, dealt, rows = 0.0, np.zeros(resamples), int(support.kept.sum())
    for stratum in np.unique(strata[support.kept]):
        member = strata == stratum
        mine, ours = values[member], treated[member]
        share = len(mine) / rows
        seen += share * float(mine[ours].mean() - mine[~ours].mean())
        dealt += share * _dealt_differences(mine - mine.mean(), int(ours.sum()), resamples, rng)
    # Sums in another order may differ in the last digit.
    extreme = int((np.abs(dealt) >= abs(seen) * (1 - 1e-9)).sum())
    return RandomisationTest(seen, (1 + extreme) / (1 + resamples), resamples, support.strata)


def _dealt_differences(centred: Floats, treated: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Difference of means when `treated` of the centred values are drawn for the one arm, shape (resamples,)."""
    portion = max(1, _DRAWS_AT_ONCE // len(centred))
    sums = [
        rng.permuted(np.broadcast_to(centred, (min(portion, resamples - start), len(centred))), axis=1)[
            :, :treated
        ].sum(axis=1)
        for start in range(0, resamples, portion)
    ]
    # The other arm's sum is the negative of this one's.
    drawn: Floats = np.concatenate(sums)
    return drawn * (1 / treated + 1 / (len(centred) - treated))
