"""Paired evidence about two versions of a model: both answer the same held-out rows, in turns."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from math import ceil
from typing import Any, Final

import numpy as np

from acgs.errors import AcgsError, InvalidInputError
from acgs.registry.model_version import VersionFacts
from acgs.release.evidence import Evidence, Forecasts, LatencyPairs, QualityPairs, Split, System
from acgs.release.staging.answers import Answers, ask_all, right
from acgs.release.staging.held_out import HeldOutRow, distinct_inputs, distinct_rows, independent_units, rows_digest
from acgs.release.staging.performance import as_numbers, closeness, is_regression, span_of
from acgs.serving.served import ServedVersion
from acgs.statistics.evidence import Floats

TIMED: Final = 2000
"""Requests that are timed at most; enough for a bound on the p99."""
TIMED_SECONDS: Final = 300.0
_WARM_UP: Final = 5


def compare(
    baseline: tuple[VersionFacts, ServedVersion],
    candidate: tuple[VersionFacts, ServedVersion],
    rows: Sequence[HeldOutRow],
    *,
    seed: int,
    timed: int = TIMED,
    timed_seconds: float = TIMED_SECONDS,
) -> Evidence:
    """Ask both for every row, and time both on the same requests, the one first that chance says.

    Args:
        timed: requests that are timed, fewer if `timed_seconds` are over before.

    Raises:
        InvalidInputError: no row has a label, or it is the same version twice.
    """
    rows = distinct_rows(rows)
    labelled = [row for row in rows if row.label is not None]
    if not labelled:
        raise InvalidInputError("no held-out row has a label; there is nothing to compare by", field="label")
    before, after = ask_all(baseline[1], labelled), ask_all(candidate[1], labelled)
    return Evidence(
        baseline=_system(baseline[0]),
        candidate=_system(candidate[0]),
        split=Split(name="held-out rows", digest=rows_digest(rows)),
        seed=seed,
        quality=_quality(labelled, before, after),
        latency=_latency(
            baseline[1], candidate[1], distinct_inputs(rows), seed=seed, timed=timed, seconds=timed_seconds
        ),
        forecasts=_forecasts(candidate[1], labelled),
    )


def _quality(rows: Sequence[HeldOutRow], before: Answers, after: Answers) -> QualityPairs:
    numeric = is_regression([row.label for row in rows])
    slices: dict[str, list[str]] = {}
    for row in rows:
        for name in row.slices:
            slices.setdefault(name, []).append(row.id)
    units = independent_units(rows)
    return QualityPairs(
        metric="closeness" if numeric else "accuracy",
        queries=tuple(row.id for row in rows),
        baseline=_scores(rows, before, numeric=numeric),
        candidate=_scores(rows, after, numeric=numeric),
        slices={name: tuple(members) for name, members in slices.items()},
        clusters=None if len(set(units)) == len(rows) else units,
    )


def _scores(rows: Sequence[HeldOutRow], answers: Answers, *, numeric: bool) -> Floats:
    if not numeric:
        return np.array([right(row.label, value) for row, value in zip(rows, answers.values, strict=True)], np.float64)
    labels = as_numbers([row.label for row in rows])
    return closeness(labels, as_numbers(answers.values), span_of(labels))


def _latency(
    baseline: ServedVersion, candidate: ServedVersion, inputs: Sequence[Any], *, seed: int, timed: int, seconds: float
) -> LatencyPairs | None:
    """Milliseconds of the same requests; None where the candidate does not answer all that the baseline answers.

    What the baseline refuses cannot be compared.
    """
    draw = np.random.default_rng(seed)
    # In rounds, so that no row is left out while another comes again.
    rows = np.concatenate([draw.permutation(len(inputs)) for _ in range(ceil(timed / len(inputs)))])[:timed].tolist()
    first = (draw.random(timed) < 0.5).tolist()
    times: list[tuple[int, float, float]] = []
    refused: set[int] = set()
    try:
        for row in rows[:_WARM_UP]:
            _pair(baseline, candidate, inputs[row], baseline_first=True)
        ends = time.monotonic() + seconds
        for row, baseline_first in zip(rows, first, strict=True):
            if time.monotonic() > ends:
                break
            if row in refused:
                continue
            pair = _pair(baseline, candidate, inputs[row], baseline_first=baseline_first)
            if pair is None:
                refused.add(row)
            else:
                times.append((row, *pair))
    except AcgsError:
        return None
    kept = [taken for taken in times if taken[0] not in refused]
    if not kept:
        return None
    repeats, before, after = zip(*kept, strict=True)
    return LatencyPairs(baseline_ms=np.array(before), candidate_ms=np.array(after), repeats=repeats)


def _pair(
    baseline: ServedVersion, candidate: ServedVersion, value: Any, *, baseline_first: bool
) -> tuple[float, float] | None:
    """Milliseconds of both; None where the baseline gives no answer.

    Raises:
        AcgsError: the candidate alone gives none.
    """
    taken: dict[int, float] = {}
    refusals: dict[int, AcgsError] = {}
    for side in (0, 1) if baseline_first else (1, 0):
        try:
            taken[side] = _seconds((baseline, candidate)[side], value) * 1000
        except AcgsError as error:
            refusals[side] = error
    if 0 in refusals:
        return None
    if 1 in refusals:
        raise refusals[1]
    return taken[0], taken[1]


def _seconds(served: ServedVersion, value: Any) -> float:
    started = time.perf_counter()
    served.check([value])
    served.predict([value], {})
    return time.perf_counter() - started


def _forecasts(served: ServedVersion, rows: Sequence[HeldOutRow]) -> Forecasts | None:
    """How sure the candidate was of its answers, and whether they were right; None if it states no probabilities."""
    stated: list[float] = []
    labels: list[bool] = []
    for row in rows:
        try:
            found = served.predict([row.input], {"probabilities": True})
        except AcgsError:
            return None
        top = _highest(found.probabilities)
        if top is None:
            return None
        stated.append(top)
        labels.append(right(row.label, found.values[0]))
    return Forecasts(event="the answer is right", probabilities=np.array(stated), labels=np.array(labels, dtype=bool))


def _highest(probabilities: Sequence[Any] | None) -> float | None:
    """The probability of the likeliest class, however the runtime names the classes."""
    if not probabilities:
        return None
    first = probabilities[0]
    values = list(first.values()) if isinstance(first, dict) else first
    if isinstance(values, int | float):
        return float(max(values, 1 - values))
    return float(max(values)) if values else None


def _system(facts: VersionFacts) -> System:
    digest = hashlib.sha256(f"{facts.digest()} {facts.artifact_digest}".encode()).hexdigest()
    return System(name=facts.name[:80], version=facts.version[:80], digest=digest)
