"""Performance on held-out rows: each metric with its interval, held against its limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.release.attempts import resamples_for
from acgs.release.staging.answers import Answers, right
from acgs.release.staging.finding import ValidationResult, at_least, could_not_run
from acgs.release.staging.held_out import independent_units
from acgs.statistics.bounds import clustered_share
from acgs.statistics.evidence import CONFIDENCE, Floats

CLASSIFICATION: Final = ("accuracy", "precision", "recall", "f1")
"""Precision, recall and F1 are means over the classes (macro)."""
REGRESSION: Final = ("r2", "closeness")
"""Closeness: 1 - |error| / (the labels' 5 % to 95 % span), not below 0."""
MAX_CLASSES: Final = 1000
FEWEST: Final = 30
FEWEST_RESAMPLED: Final = 20
"""Units, and rows of each class, below which bootstrap bounds cover too little."""
_TYPE: Final = "performance_metrics"
_DRAWS_AT_ONCE: Final = 4_000_000


def check_performance(
    answers: Answers, limits: Mapping[str, float], *, seed: int, confidence: float = CONFIDENCE
) -> list[ValidationResult]:
    """Every metric that is asked for.

    Raises:
        InvalidInputError: a metric that is not known, or that does not fit labels of this kind.
    """
    labelled = answers.labelled()
    pairs = [(row.label, value) for row, value in labelled]
    if len(pairs) < FEWEST:
        return [
            could_not_run(_TYPE, name, f"{len(pairs)} labelled rows are fewer than {FEWEST}", n=len(pairs))
            for name in limits
        ]
    numeric = is_regression([label for label, _ in pairs])
    known = REGRESSION if numeric else CLASSIFICATION
    for name in limits:
        if name not in known:
            raise InvalidInputError(
                f"{name} is no metric for these labels; choose of {', '.join(known)}", field="metrics"
            )
    read = _regression if numeric else _classification
    units = np.unique(independent_units([row for row, _ in labelled]), return_inverse=True)[1]
    how = _How(seed, confidence, units.astype(np.int64))
    return [read(name, pairs, limit, how) for name, limit in limits.items()]


def is_regression(labels: Sequence[Any]) -> bool:
    """Whether labels are measured values: numbers of which one has a fraction."""
    numbers = all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels)
    return numbers and any(float(label) != int(label) for label in labels)


def span_of(labels: Floats) -> float:
    """The span of all labels but the outermost tenth; 1 where they do not differ."""
    low, high = np.quantile(labels, [0.05, 0.95])
    return float(high - low) or 1.0


def closeness(labels: Floats, values: Floats, span: float) -> Floats:
    """How near each value comes to its label, in [0, 1]; no value (NaN) is not near at all."""
    near = np.clip(1.0 - np.abs(values - labels) / span, 0.0, 1.0)
    return np.nan_to_num(near, nan=0.0)


def as_numbers(values: Sequence[Any]) -> Floats:
    """Answers as numbers; what is none is NaN."""
    return np.array([v if isinstance(v, int | float) else np.nan for v in values], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _How:
    """How bounds are found."""

    seed: int
    confidence: float
    units: NDArray[np.int64]
    """What each pair is a finding about, shape (n,): whole units are resampled."""

    @property
    def resamples(self) -> int:
        """See `resamples_for`."""
        return resamples_for(self.confidence)

    @property
    def alone(self) -> bool:
        """Whether each pair is a finding of its own."""
        return int(self.units.max()) + 1 == len(self.units)

    def weights(self, kinds: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
        """How often each kind of unit is drawn, shape (some resamples, kinds).

        Args:
            kinds: units of each kind, shape (kinds,).
            width: numbers that are worked out from each resample.
        """
        rng, units = np.random.default_rng(self.seed), int(kinds.sum())
        portion = max(1, _DRAWS_AT_ONCE // max(width, len(kinds)))
        for start in range(0, self.resamples, portion):
            size = min(portion, self.resamples - start)
            yield rng.multinomial(units, kinds / units, size=size).astype(np.int64)

    def bounds(self, drawn: Floats) -> tuple[float, float]:
        """One-sided bounds from resampled figures."""
        lower, upper = np.quantile(drawn, [1 - self.confidence, self.confidence])
        return float(lower), float(upper)


def _classification(name: str, pairs: Sequence[tuple[Any, Any]], limit: float, how: _How) -> ValidationResult:
    n = len(pairs)
    if name == "accuracy":
        good = [float(right(label, value)) for label, value in pairs]
        bounds = clustered_share(good, how.units, confidence=how.confidence)
        return _result(name, sum(good) / n, bounds, limit, n, method="Clopper-Pearson" if how.alone else "betting")
    from scipy.sparse import csr_array

    classes = {name: number for number, name in enumerate(sorted({repr(label) for label, _ in pairs}))}
    if len(classes) > MAX_CLASSES:
        return could_not_run(_TYPE, name, f"more than {MAX_CLASSES} different labels are no classes", n=n)
    # An answer that is no class of the labels is a class of its own, which is never right.
    other = len(classes)
    said = np.array([[classes[repr(label)], classes.get(repr(value), other)] for label, value in pairs])
    rarest = int(np.bincount(said[:, 0]).min())
    if rarest < FEWEST_RESAMPLED:
        why = f"the rarest class has {rarest} rows, and each needs {FEWEST_RESAMPLED} for a mean over classes"
        return could_not_run(_TYPE, name, why, n=n)
    side = other + 1
    cells, cell, counts = np.unique(said @ (side, 1), return_inverse=True, return_counts=True)
    # Of pairs that stand alone those in one cell are of a kind; else each unit is one, with its part of each cell.
    parts = csr_array((np.ones(n), (how.units, cell)), shape=(int(how.units.max()) + 1, len(cells)))

    def measure(drawn: NDArray[np.int64]) -> Floats:
        tables = np.zeros((len(drawn), side * side), dtype=np.int64)
        tables[:, cells] = drawn if how.alone else (parts.T @ drawn.T).T
        return _macro(tables.reshape(-1, side, side), name)

    kinds = counts if how.alone else np.ones(parts.shape[0], dtype=np.int64)
    return _resampled(name, measure, kinds, limit, how, width=side * side)


def _macro(tables: np.ndarray[Any, np.dtype[np.int64]], name: str) -> Floats:
    """Mean over the labels' classes; tables of shape (t, labels, answers). A class without any answer scores 0."""
    hits = np.diagonal(tables, axis1=1, axis2=2)[:, :-1].astype(np.float64)
    said, real = tables.sum(axis=1)[:, :-1], tables.sum(axis=2)[:, :-1]
    precision = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
    recall = np.divide(hits, real, out=np.zeros_like(hits), where=real > 0)
    both = said + real
    per_class = {
        "precision": precision,
        "recall": recall,
        "f1": np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0),
    }[name]
    # A resample may miss a class; it says nothing of that class then.
    there = real > 0
    means: Floats = (per_class * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return means


def _regression(name: str, pairs: Sequence[tuple[Any, Any]], limit: float, how: _How) -> ValidationResult:
    labels, values = as_numbers([label for label, _ in pairs]), as_numbers([value for _, value in pairs])
    n = len(labels)
    if name == "r2" and np.isnan(values).any():
        missing = int(np.isnan(values).sum())
        return could_not_run(_TYPE, name, f"{missing} rows have no number for an answer", n=n)
    centred = labels - labels.mean()
    near, errors = closeness(labels, values, span_of(labels)), (values - labels) ** 2
    columns = (np.ones(n), near, np.nan_to_num(errors), centred, centred**2)
    parts = np.stack([np.bincount(how.units, weights=column) for column in columns], axis=1)

    def measure(weights: NDArray[np.int64]) -> Floats:
        totals = weights @ parts
        nearness, error, mean, square = (totals[:, 1:] / totals[:, :1]).T
        if name == "closeness":
            return np.asarray(nearness)
        spread = square - mean**2
        explained: Floats = 1 - error / np.where(spread > 0, spread, np.inf)
        return explained

    kinds = np.ones(len(parts), dtype=np.int64)
    return _resampled(name, measure, kinds, limit, how, width=len(columns))


def _resampled(
    name: str,
    measure: Callable[[NDArray[np.int64]], Floats],
    kinds: NDArray[np.int64],
    limit: float,
    how: _How,
    *,
    width: int,
) -> ValidationResult:
    """A figure with percentile bootstrap bounds.

    Args:
        measure: the figure from how often each kind of unit was drawn, shape (resamples, kinds) to (resamples,).
        kinds: units of each kind, shape (kinds,).
        width: numbers that it works out from each resample.
    """
    units = int(kinds.sum())
    if units < FEWEST_RESAMPLED:
        why = f"the rows are of {units} groups or inputs, and a bootstrap needs {FEWEST_RESAMPLED}"
        return could_not_run(_TYPE, name, why, n=len(how.units))
    score = float(measure(kinds[None])[0])
    drawn = np.concatenate([measure(weights) for weights in how.weights(kinds, width)])
    return _result(name, score, how.bounds(drawn), limit, len(how.units), method="bootstrap")


def _result(
    name: str, score: float, bounds: tuple[float, float], limit: float, n: int, *, method: str
) -> ValidationResult:
    lower, upper = bounds
    verdict = at_least(lower, upper, limit)
    return ValidationResult(
        validation_type=_TYPE,
        measure=name,
        verdict=verdict,
        score=score,
        lower=lower,
        upper=upper,
        limit=limit,
        n=n,
        reason=f"{name} is {score:.3f}, between {lower:.3f} and {upper:.3f}; {limit:g} is asked",
        details={"method": method},
    )
