"""AUROC of several models on the same held-out texts, with paired bootstrap intervals over groups.

Sources differ in how often they are harmful, so that knowing the source alone gives a pooled AUROC above one half. The
mean of the AUROC within each source cannot gain from it; both are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from acgs.statistics.classification import LEVEL, RESAMPLES, Estimate

Floats = NDArray[np.float64]
Table = dict[str, dict[str, Estimate | None]]
POOLED: Final = "pooled"
WITHIN: Final = "mean within sources"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`auroc[model][slice]`, and the paired differences and ratios of two models by slice.

    Slices are `POOLED`, `WITHIN` and each source. A figure is None where a label is missing, an interval's ends are
    None where a resample lacks one.
    """

    n: int
    harmful: int
    groups: int
    resamples: int
    auroc: Table
    difference: Table
    """`A - B` by "A - B"."""
    ratio: Table
    """`A / B` by "A / B"."""

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def compare(
    scores: Mapping[str, Floats],
    harmful: NDArray[np.bool_],
    groups: NDArray[np.int64],
    sources: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Work out every figure; all models see the same resamples of whole groups (cluster bootstrap).

    Args:
        scores: by model, larger is likelier harmful, shape (n,) each.
        pairs: models to take difference and ratio of, first over second.
    """
    rows_of = _slices(np.array(sources))
    members = np.unique(groups, return_inverse=True)[1]
    count = int(members.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(0, count, count), minlength=count)[members] for _ in range(resamples))
    weights = [np.ones(len(harmful)), *(counts.astype(float) for counts in drawn)]
    tables = {name: np.array([_by_slice(s, harmful, w, rows_of) for w in weights]) for name, s in scores.items()}
    names = [POOLED, WITHIN, *rows_of]

    def estimates(table: Floats) -> dict[str, Estimate | None]:
        return {name: _estimate(table[:, column]) for column, name in enumerate(names)}

    def paired(operation: Callable[[Floats, Floats], Floats], sign: str) -> Table:
        return {f"{one} {sign} {other}": estimates(operation(tables[one], tables[other])) for one, other in pairs}

    return Comparison(
        n=len(harmful),
        harmful=int(harmful.sum()),
        groups=count,
        resamples=resamples,
        auroc={name: estimates(table) for name, table in tables.items()},
        difference=paired(np.subtract, "-"),
        ratio=paired(np.divide, "/"),
    )


def _slices(sources: NDArray[np.str_]) -> dict[str, NDArray[np.int64]]:
    return {str(name): np.flatnonzero(sources == name) for name in dict.fromkeys(sources.tolist())}


def _by_slice(
    scores: Floats, harmful: NDArray[np.bool_], weights: Floats, rows_of: Mapping[str, NDArray[np.int64]]
) -> list[float]:
    """Pooled, mean within sources, then each source; NaN where a label has no weight."""
    each = [_auroc(scores[rows], harmful[rows], weights[rows]) for rows in rows_of.values()]
    return [_auroc(scores, harmful, weights), float(np.mean(each)), *each]


def _auroc(scores: Floats, harmful: NDArray[np.bool_], weights: Floats) -> float:
    drawn = weights > 0
    if len(set(harmful[drawn].tolist())) < 2:
        return float("nan")
    return float(roc_auc_score(harmful[drawn], scores[drawn], sample_weight=weights[drawn]))


def _estimate(values: Floats) -> Estimate | None:
    """The first value is that of the data, the others are resamples."""
    if np.isnan(values[0]):
        return None
    resampled = values[1:]
    if np.isnan(resampled).any() or len(resampled) == 0:
        return Estimate(float(values[0]), None, None)
    lower, upper = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(values[0]), float(lower), float(upper))
