"""The rule for repeats: whoever tries again pays for it, so that trying until it passes proves nothing.

Attempt k of the same files is judged with an error budget of alpha / (k (k + 1)). These sum to alpha over all attempts,
so that files that are worse than they may be pass any one check in any attempt with a probability of at most alpha,
however the attempts depend on each other (union bound; spending alpha over looks: Lan and DeMets 1983).

One changed byte makes other files. Where the policy says `attempts_of: model`, all that was tried of a model since the
last promotion of new files began counts together: the chance that any of it passes a check wrongly is at most alpha.

An attempt counts as soon as an outcome was looked at, whatever the verdict: who asks again for want of rows has seen
how it stands. One in which nothing was measured (the version does not load, its process dies) spends nothing.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from acgs.statistics.evidence import CONFIDENCE

ALPHA: Final = 1 - CONFIDENCE
FEWEST_RESAMPLES: Final = 2000
_BEYOND: Final = 20


def confidence_of(attempt: int) -> float:
    """The confidence of every bound of an attempt, counted from 1."""
    return 1 - ALPHA / (attempt * (attempt + 1))


def resamples_for(confidence: float) -> int:
    """So many bootstrap resamples that some lie beyond a percentile bound of this confidence."""
    return max(FEWEST_RESAMPLES, ceil(_BEYOND / (1 - confidence) - 1e-9))
