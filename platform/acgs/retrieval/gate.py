"""Which queries are worth a rerank: two thresholds on the predicted gain, found by Lagrangian dual ascent.

Maximise the mean predicted gain over queries so that the mean cost stays within a budget, and the chance that a query
takes longer than a limit stays below 5 %. Both constraints are linear in a randomised policy, so the problem is a
multiple-choice knapsack whose linear relaxation is solved exactly. Dual ascent prices a millisecond (Boyd and
Vandenberghe 2004, section 5) and bounds what any policy could gain; the thresholds are the best feasible pair, and the
duality gap says how far from that bound they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.statistics.evidence import InsufficientDataError, sample

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUTES: Final = 3
"""None, cheap rerank, full rerank, in the order of the columns below."""
_ITERATIONS: Final = 2000
_RESOLUTION: Final = 1e-9
"""Scores closer than this part of the largest are taken as equal: no threshold in floats could part them reliably."""


@dataclass(frozen=True, slots=True)
class GateProblem:
    """Predicted gains and measured costs of the three routes."""

    gains: Floats
    """(queries, 3) predicted gain of nDCG@10; the first column is 0"""
    costs_ms: Floats
    """(3,) mean milliseconds; the first is 0"""
    budget_ms: float
    """Mean milliseconds that reranking may add."""
    late: Floats
    """(3,) chance that a query on the route takes longer than the latency limit"""
    late_limit: float = 0.05

    @property
    def late_allowed(self) -> float:
        """The limit, or what the base itself is late by: no gate can undo that."""
        return max(self.late_limit, float(self.late[0]))

    def checked(self) -> GateProblem:
        """Itself.

        Raises:
            InvalidInputError: shapes differ, values are not finite, a cost or budget is negative, a chance lies outside
                [0, 1], or doing nothing has a gain or a cost.
            InsufficientDataError: there is no query.
        """
        if self.gains.ndim != 2 or self.gains.shape[1] != ROUTES:
            raise InvalidInputError("the gate needs gains of shape (queries, 3)", field="gains")
        if self.costs_ms.shape != (ROUTES,) or self.late.shape != (ROUTES,):
            raise InvalidInputError("the gate needs three costs and three chances to be late", field="costs_ms")
        for values in (self.gains, self.costs_ms, self.late, (self.budget_ms, self.late_limit)):
            if not np.isfinite(values).all():
                raise InvalidInputError("gains, costs, chances and limits must be finite numbers", field="gains")
        if (self.costs_ms < 0).any() or self.budget_ms < 0:
            raise InvalidInputError("costs and budget must not be negative", field="budget_ms")
        if min(*self.late, self.late_limit) < 0 or max(*self.late, self.late_limit) > 1:
            raise InvalidInputError("chances to be late lie between 0 and 1", field="late")
        if self.gains[:, 0].any() or self.costs_ms[0]:
            raise InvalidInputError("doing nothing gains nothing and costs nothing", field="gains")
        if not len(self.gains):
            raise InsufficientDataError("a gate cannot be chosen without queries", field="gains")
        return self


@dataclass(frozen=True, slots=True)
class GateSolution:
    """Thresholds with the proof of how good they are."""

    theta_star: float
    delta: float
    multiplier: float
    """Averaged lambda: gain that one more millisecond of budget would buy."""
    late_multiplier: float
    trajectory: Floats
    """(iterations,) lambda"""
    value: float
    """Mean predicted gain of the thresholds."""
    optimum: float
    """Mean predicted gain of the exact solution under the same constraints."""
    dual: float
    """Dual bound at the averaged multipliers; never below the optimum."""
    cost_ms: float
    late: float
    routed: tuple[float, float, float]
    """Shares of queries on each route."""

    @property
    def gap(self) -> float:
        """Duality gap: what the thresholds may be short of the best policy."""
        return self.dual - self.value


def solve_gate(problem: GateProblem, scores: Floats) -> GateSolution:
    """Thresholds on `scores` (queries,), the predicted gain of the full rerank.

    Of all pairs of cuts through the sorted scores the feasible one of highest mean predicted gain is taken; of equal
    ones that which reranks least.

    Raises:
        InvalidInputError, InsufficientDataError: as `GateProblem.checked`.
    """
    problem = problem.checked()
    if scores.shape != (len(problem.gains),) or not np.isfinite(scores).all():
        raise InvalidInputError("scores must be one finite number a query", field="scores")
    multiplier, late_multiplier, trajectory = dual_ascent(problem)
    prices = multiplier * problem.costs_ms + late_multiplier * problem.late
    theta, delta = _thresholds(problem, scores)
    routes = apply_thresholds(scores, theta, delta)
    rows = np.arange(len(scores))
    shares = np.bincount(routes, minlength=ROUTES) / len(scores)
    dual = float((problem.gains - prices).max(axis=1).mean())
    dual += multiplier * problem.budget_ms + late_multiplier * problem.late_allowed
    return GateSolution(
        theta_star=theta,
        delta=delta,
        multiplier=multiplier,
        late_multiplier=late_multiplier,
        trajectory=trajectory,
        value=float(problem.gains[rows, routes].mean()),
        # The linear program keeps its constraints to 1e-7 only; the dual bound is above whatever keeps them.
        optimum=min(knapsack_optimum(problem), dual),
        dual=dual,
        cost_ms=float(shares @ problem.costs_ms),
        late=float(shares @ problem.late),
        routed=(float(shares[0]), float(shares[1]), float(shares[2])),
    )


def dual_ascent(problem: GateProblem) -> tuple[float, float, Floats]:
    """Multipliers of budget and lateness, averaged over the second half, and the budget's trajectory.

    Steps fall with the root of their number; multipliers stay at or above 0.
    """
    spread = float(np.abs(problem.gains).max()) or 1.0
    scale = spread / max(float(problem.costs_ms.max()), 1e-9)
    late_scale = spread / max(float(problem.late.max()), 1e-9)
    price, late_price = 0.0, 0.0
    trajectory = np.empty(_ITERATIONS)
    late_trajectory = np.empty(_ITERATIONS)
    for step in range(_ITERATIONS):
        chosen = (problem.gains - price * problem.costs_ms - late_price * problem.late).argmax(axis=1)
        shares = np.bincount(chosen, minlength=ROUTES) / len(chosen)
        rate = 1.0 / np.sqrt(step + 1.0)
        over = float(shares @ problem.costs_ms) - problem.budget_ms
        late_over = float(shares @ problem.late) - problem.late_allowed
        price = max(0.0, price + rate * scale * over / max(problem.budget_ms, float(problem.costs_ms.max()), 1e-9))
        late_price = max(0.0, late_price + rate * late_scale * late_over)
        trajectory[step], late_trajectory[step] = price, late_price
    half = _ITERATIONS // 2
    return float(trajectory[half:].mean()), float(late_trajectory[half:].mean()), trajectory


def knapsack_optimum(problem: GateProblem) -> float:
    """Highest mean predicted gain of any randomised policy within both constraints: a linear program, solved exactly.

    Queries with one route each are the multiple-choice knapsack; its relaxation over shares is the policy that may
    randomise, which closes the duality gap but for one query.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, vstack

    n = len(problem.gains)
    rows = np.repeat(np.arange(n), ROUTES)
    one_each = csr_array((np.ones(n * ROUTES), (rows, np.arange(n * ROUTES))), shape=(n, n * ROUTES))
    limits = vstack(
        [csr_array(np.tile(problem.costs_ms, n)[None, :] / n), csr_array(np.tile(problem.late, n)[None, :] / n)]
    )
    found = linprog(
        -problem.gains.ravel() / n,
        A_ub=limits,
        b_ub=[problem.budget_ms, problem.late_allowed],
        A_eq=one_each,
        b_eq=np.ones(n),
        bounds=(0, 1),
        method="highs",
    )
    return float(-found.fun)


def apply_thresholds(scores: Floats, theta_star: float, delta: float) -> Ints:
    """Route of each score, shape (queries,): 0 none, 1 cheap, 2 full."""
    routes: Ints = (scores >= theta_star - delta).astype(np.int64) + (scores >= theta_star)
    return routes


def _thresholds(problem: GateProblem, scores: Floats) -> tuple[float, float]:
    """The feasible pair of highest mean predicted gain among all pairs of cuts through the sorted scores.

    Sorting makes every pair's gain, cost and lateness a difference of cumulative sums, so all pairs are looked at.
    """
    order = np.argsort(-scores, kind="stable")
    n = len(scores)
    ranked = scores[order]
    apart = _RESOLUTION * max(1.0, float(np.abs(ranked).max()))
    # Cut k puts the k highest scores above it; equal scores cannot be parted.
    cuts = np.concatenate([[0], 1 + np.flatnonzero(ranked[:-1] - ranked[1:] > apart), [n]])
    sums = np.vstack([np.zeros(ROUTES), np.cumsum(problem.gains[order], axis=0)])
    best, chosen = -np.inf, (0, 0)
    for full in cuts:
        fired = cuts[cuts >= full]
        shares = np.stack([n - fired, fired - full, np.full_like(fired, full)], axis=1) / n
        feasible = (shares @ problem.costs_ms <= problem.budget_ms + 1e-12) & (
            shares @ problem.late <= problem.late_allowed + 1e-12
        )
        gain = np.where(feasible, sums[full, 2] + sums[fired, 1] - sums[full, 1], -np.inf)
        place = int(gain.argmax())
        if gain[place] > best:
            best, chosen = float(gain[place]), (int(full), int(fired[place]))
    top, low = (_between(ranked, cut, apart) for cut in chosen)
    return top, top - low


def _between(ranked: Floats, cut: int, apart: float) -> float:
    """A threshold with exactly `cut` of the descending scores at or above it; far above all where none shall fire."""
    if cut == 0:
        return float(ranked[0]) + max(1.0, float(np.abs(ranked).max()))
    return float(ranked[-1]) - apart if cut == len(ranked) else float((ranked[cut - 1] + ranked[cut]) / 2)


@dataclass(frozen=True, slots=True)
class GateCurve:
    """What firing on the highest scores yields, for every share of queries that fire."""

    fired: Floats
    """(points,) share of queries, rising"""
    gain: Floats
    """(points,) mean realised gain over all queries"""
    oracle: Floats
    """(points,) the same if the queries were sorted by their realised gain"""
    hits: Floats
    """(points,) share of the queries with a true gain that fire (true positive rate)"""
    false_alarms: Floats
    """(points,) share of the queries without a true gain that fire (false positive rate)"""


def gate_curve(scores: Floats, realised: Floats) -> GateCurve:
    """The curve of realised gains (queries,) under a gate on `scores` (queries,).

    Raises:
        InvalidInputError: not one finite score and gain for each query.
        InsufficientDataError: there is no query.
    """
    scores, realised = sample(scores, "scores"), sample(realised, "realised")
    if len(scores) != len(realised):
        raise InvalidInputError("give one score and one realised gain for each query", field="scores")
    n = len(scores)
    by_score = realised[np.argsort(-scores, kind="stable")]
    helped = by_score > 0
    positives, negatives = max(int(helped.sum()), 1), max(int((~helped).sum()), 1)
    return GateCurve(
        fired=np.arange(n + 1) / n,
        gain=np.concatenate([[0.0], np.cumsum(by_score)]) / n,
        oracle=np.concatenate([[0.0], np.cumsum(np.sort(realised)[::-1])]) / n,
        hits=np.concatenate([[0], np.cumsum(helped)]) / positives,
        false_alarms=np.concatenate([[0], np.cumsum(~helped)]) / negatives,
    )
