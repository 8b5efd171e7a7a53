"""Whether real traffic shows a candidate to be worse: evidence that may be looked at every second.

The guards share the plan's alpha over all steps (Bonferroni). Each bets that a mean is above what is allowed, so that a
version that is no worse goes back with at most that probability however often one looks (`acgs.statistics.betting`):

- while both versions answer, requests of one are held against requests of the other of about the same time. Errors: the
  mean of (candidate failed) - (baseline failed) against the margin. Latency: how often the candidate's request takes
  `slower_factor` times as long as the baseline's and `slower_seconds` more, against one in two;
- and it is held against the reference that was frozen before: its errors, always, against the reference's rate (0
  without one) plus the margin; and its requests slower than the reference's p95 (by the same measure) against
  `slow_share` only where it answers everything, or nearly: what people ask may have changed since, which pairs would
  show. A reference without times leaves only the errors to be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from acgs.serving.deployments.record import RampPlan, Reference
from acgs.serving.windows import OutcomeWindow
from acgs.statistics.betting import Betting
from acgs.statistics.evidence import Floats

GUARDS: Final = 4
UNPAIRED_TIMES: Final = 4
"""With so many times as many requests as pairs, the candidate answers nearly everything."""
_AS_OFTEN_AS_NOT: Final = 0.5
_EDGE: Final = 1e-9
"""A bet needs a mean inside the range."""


class TrafficState(StrEnum):
    """What the traffic says."""

    QUIET = "quiet"
    TRIPPED = "tripped"
    NO_DATA = "no data"


@dataclass(frozen=True, slots=True)
class GuardReading:
    """One guard: the mean it saw over n values, what is allowed, and the evidence; it trips at `needed`."""

    guard: str
    mean: float | None
    allowed: float
    n: int
    log_evidence: float
    needed: float

    @property
    def tripped(self) -> bool:
        """Whether the evidence is enough."""
        return self.n > 0 and self.log_evidence >= self.needed

    def as_json(self) -> dict[str, float | str | int | None]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrafficReading:
    """What the traffic of a step says so far."""

    state: TrafficState
    requests: int
    errors: int
    guards: tuple[GuardReading, ...] = ()

    @property
    def reason(self) -> str:
        """Why it tripped."""
        bad = [f"{g.guard} {g.mean:.3f} where {g.allowed:.3f} is allowed (n {g.n})" for g in self.guards if g.tripped]
        return "; ".join(bad)


def judge_side_by_side(
    candidate: Sequence[OutcomeWindow],
    baseline: Sequence[OutcomeWindow],
    plan: RampPlan,
    reference: Reference | None = None,
) -> TrafficReading:
    """Judge a step in which both versions answer. Windows in order of time."""
    errors = _errors(baseline)
    lasted = _latencies(baseline)
    differences = _paired(_errors(candidate), errors)
    times = _paired_with(_latencies(candidate), lasted)
    slower = (times[0] > times[1] * plan.slower_factor + plan.slower_seconds).astype(np.float64)
    alpha = plan.alpha / (GUARDS * len(plan.steps))
    return _reading(
        candidate,
        _bet("errors beyond the baseline's", differences, -1.0, plan.error_margin, alpha),
        _bet("share of requests slower than the baseline's", slower, 0.0, _AS_OFTEN_AS_NOT, alpha),
        *_against(candidate, reference, plan, times=_nearly_alone(candidate, len(slower), plan)),
    )


def _nearly_alone(candidate: Sequence[OutcomeWindow], pairs: int, plan: RampPlan) -> bool:
    """Whether so many requests of the candidate have no pair that pairs say little of it."""
    requests = sum(window.requests for window in candidate)
    return requests >= plan.minimum_requests and pairs * UNPAIRED_TIMES < requests


def judge_against(candidate: Sequence[OutcomeWindow], reference: Reference | None, plan: RampPlan) -> TrafficReading:
    """Judge a version that answers everything against how the one before did; without a reference, by its errors."""
    return _reading(candidate, *_against(candidate, reference, plan, times=True))


def _against(
    candidate: Sequence[OutcomeWindow], reference: Reference | None, plan: RampPlan, *, times: bool
) -> list[GuardReading]:
    alpha = plan.alpha / (GUARDS * len(plan.steps))
    rate = reference.errors / reference.requests if reference is not None and reference.requests else 0.0
    guards = [_bet("error rate", _errors(candidate), 0.0, min(rate + plan.error_margin, 1 - _EDGE), alpha)]
    if times and reference is not None and reference.p95_seconds is not None:
        limit = reference.p95_seconds * plan.slower_factor + plan.slower_seconds
        slow = (_latencies(candidate) > limit).astype(np.float64)
        guards.append(_bet("share of requests beyond the old p95", slow, 0.0, plan.slow_share, alpha))
    return guards


def reference_from(windows: Sequence[OutcomeWindow]) -> Reference:
    """How a version did, as far as its windows tell."""
    requests, errors = sum(w.requests for w in windows), sum(w.errors for w in windows)
    times = _latencies(windows)
    p95 = float(np.quantile(times, 0.95)) if len(times) else None
    return Reference(requests=requests, errors=errors, p95_seconds=p95)


def _reading(candidate: Sequence[OutcomeWindow], *guards: GuardReading) -> TrafficReading:
    requests, errors = sum(w.requests for w in candidate), sum(w.errors for w in candidate)
    state = TrafficState.QUIET if requests else TrafficState.NO_DATA
    if any(guard.tripped for guard in guards):
        state = TrafficState.TRIPPED
    return TrafficReading(state, requests, errors, guards)


def _bet(guard: str, values: Floats, low: float, allowed: float, alpha: float) -> GuardReading:
    allowed = max(allowed, low + _EDGE)
    bet = Betting(allowed, low, 1.0, "above", alpha)
    # What was enough once is enough, though later values speak for the candidate again.
    path = bet.update(values)
    most = float(path.max()) if len(path) else 0.0
    mean = float(values.mean()) if len(values) else None
    return GuardReading(guard, mean, allowed, len(values), most, float(np.log(1 / alpha)))


def _errors(windows: Sequence[OutcomeWindow]) -> Floats:
    """One value a request, 1 for a failed one. Within a window the order is not known: it is drawn, from a seed that
    does not depend on what happened in it.
    """
    parts = []
    for window in windows:
        values = np.zeros(window.requests)
        values[: window.errors] = 1.0
        parts.append(_generator(window).permutation(values))
    return np.concatenate(parts) if parts else np.zeros(0)


def _latencies(windows: Sequence[OutcomeWindow]) -> Floats:
    """Seconds, one value an answered request that was sampled."""
    return np.array([seconds for window in windows for seconds in window.latencies], dtype=np.float64)


def _generator(window: OutcomeWindow) -> np.random.Generator:
    return np.random.default_rng([int(window.started * 1000), *window.replica_id.encode()])


def _paired(candidate: Floats, baseline: Floats) -> Floats:
    one, other = _paired_with(candidate, baseline)
    return one - other


def _paired_with(candidate: Floats, baseline: Floats) -> tuple[Floats, Floats]:
    """As many pairs as the shorter has values; of the longer, those at even distances, so that times agree roughly."""
    n = min(len(candidate), len(baseline))
    return candidate[_even(len(candidate), n)], baseline[_even(len(baseline), n)]


def _even(length: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (np.arange(n, dtype=np.int64) * length) // max(n, 1)
