"""Response time under load: several callers ask at the same time, each as soon as it has its answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil, log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from acgs.errors import AcgsError
from acgs.release.staging.finding import ValidationResult, could_not_run
from acgs.release.staging.limits import StagingLimits
from acgs.serving.served import ServedVersion
from acgs.statistics.bootstrap import paired_bca
from acgs.statistics.bounds import proportion_upper
from acgs.statistics.evidence import CONFIDENCE, Floats, InsufficientDataError, Verdict

P95_MISSES: Final = 0.05
_TYPE: Final = "response_time"


def check_response_time(
    served: ServedVersion, inputs: Sequence[Any], limits: StagingLimits, *, confidence: float = CONFIDENCE
) -> list[ValidationResult]:
    """Ask `limits.requests` times, more if the p95's bound needs them, one input a request; judge mean and p95.

    Inputs are asked in turns. An input that comes again is no new one: the mean's bounds resample whole inputs, and the
    p95 is judged by the first time that each is asked.

    The model is asked by one thread at a time, as a slot does, so that waiting counts. Network and router come on top;
    they are measured when the version takes traffic.
    """
    requests = max(limits.requests, fewest_requests(confidence))
    seconds, failures = _ask_under_load(served, inputs, requests, limits.callers)
    if failures:
        result = could_not_run(_TYPE, "requests under load", f"{failures} of {requests} requests failed")
        return [result.model_copy(update={"verdict": Verdict.FAIL, "n": requests})]
    asked = np.arange(requests) % len(inputs)
    return [
        _mean(np.array(seconds), asked, limits, confidence),
        _p95(np.array(seconds), len(inputs), limits, confidence),
    ]


def fewest_requests(confidence: float) -> int:
    """So many that, with none of them slow, the p95 is shown to hold."""
    return ceil(log(1 - confidence) / log(1 - P95_MISSES))


def _ask_under_load(
    served: ServedVersion, inputs: Sequence[Any], requests: int, callers: int
) -> tuple[list[float], int]:
    turn, lock = itertools.cycle(inputs), threading.Lock()

    def ask(value: Any) -> float | None:
        started = time.perf_counter()
        with lock:
            try:
                served.check([value])
                served.predict([value], {})
            except AcgsError:
                return None
        return time.perf_counter() - started

    with ThreadPoolExecutor(callers) as asking:
        lasted = list(asking.map(ask, itertools.islice(turn, requests)))
    return [seconds for seconds in lasted if seconds is not None], sum(seconds is None for seconds in lasted)


def _mean(seconds: Floats, asked: NDArray[np.int64], limits: StagingLimits, confidence: float) -> ValidationResult:
    try:
        bounds = paired_bca(seconds, confidence=confidence, clusters=asked, seed=limits.seed)
    except InsufficientDataError as error:
        return could_not_run(_TYPE, "mean under load", error.message, n=len(seconds))
    limit = limits.mean_response_seconds
    good, bad = bounds.upper <= limit, bounds.lower > limit
    return ValidationResult(
        validation_type=_TYPE,
        measure="mean under load",
        verdict=Verdict.PASS if good else Verdict.FAIL if bad else Verdict.INSUFFICIENT,
        score=bounds.estimate,
        lower=bounds.lower,
        upper=bounds.upper,
        limit=limit,
        unit="s",
        n=len(seconds),
        reason=f"the mean is {bounds.estimate * 1000:.1f} ms with {limits.callers} callers; {limit:g} s is allowed",
        details={"method": bounds.method},
    )


def _p95(seconds: Floats, inputs: int, limits: StagingLimits, confidence: float) -> ValidationResult:
    limit, n = limits.p95_response_seconds, len(seconds)
    first = seconds[:inputs]
    slow, rows = int((first > limit).sum()), len(first)
    most = proportion_upper(slow, rows, confidence=confidence)
    least = 1 - proportion_upper(rows - slow, rows, confidence=confidence)
    good, bad = most <= P95_MISSES, least > P95_MISSES
    p95 = float(np.quantile(seconds, 0.95))
    return ValidationResult(
        validation_type=_TYPE,
        measure="p95 under load",
        verdict=Verdict.PASS if good else Verdict.FAIL if bad else Verdict.INSUFFICIENT,
        score=p95,
        limit=limit,
        unit="s",
        n=rows,
        reason=f"the p95 of {n} requests is {p95 * 1000:.1f} ms; at most {most:.3f} of all rows take more than "
        f"{limit:g} s ({confidence * 100:.4g} %, {rows} rows; {fewest_requests(confidence)} or more are needed)",
        details={"slower_than_limit": slow, "method": "Clopper-Pearson on the share of slow rows"},
    )
