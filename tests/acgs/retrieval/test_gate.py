from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.retrieval.gate import GateProblem, apply_thresholds, gate_curve, knapsack_optimum, solve_gate
from acgs.statistics.evidence import InsufficientDataError

Floats = NDArray[np.float64]
COSTS = np.array([0.0, 0.3, 2.0])
NEVER_LATE = np.zeros(3)


def _problem(gains: Floats, budget: float, late: Floats = NEVER_LATE, limit: float = 0.05) -> GateProblem:
    return GateProblem(gains, COSTS, budget, late, limit)


def _proportional(scores: Floats) -> Floats:
    """Gains that the scores tell exactly; the cheap rerank gets 60 % of the full one's."""
    return np.stack([np.zeros_like(scores), 0.6 * scores, scores], axis=1)


def _brute_force(problem: GateProblem, scores: Floats) -> float:
    """Highest mean gain over a grid of all thresholds that tell the scores apart."""
    grid = [*np.unique(scores), scores.max() + 1]
    best = -np.inf
    for theta in grid:
        for low in [value for value in grid if value <= theta]:
            routes = (scores >= low).astype(int) + (scores >= theta)
            within = problem.costs_ms[routes].mean() <= problem.budget_ms + 1e-9
            if within and problem.late[routes].mean() <= problem.late_allowed + 1e-9:
                best = max(best, problem.gains[np.arange(len(scores)), routes].mean())
    return float(best)


@st.composite
def problems(draw: st.DrawFn) -> tuple[GateProblem, Floats]:
    n = draw(st.integers(1, 14))
    gain = st.floats(-0.5, 0.5).map(lambda value: round(value, 3))
    column = st.lists(gain, min_size=n, max_size=n)
    gains = np.stack([np.zeros(n), draw(column), draw(column)], axis=1)
    late = np.array(sorted(draw(st.lists(st.floats(0, 0.3), min_size=3, max_size=3))))
    problem = _problem(gains, draw(st.floats(0, 2.5)), late, draw(st.floats(0, 0.3)))
    return problem, np.array(draw(column))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_thresholds_are_the_best_feasible_ones_and_the_bounds_hold(case: tuple[GateProblem, Floats]) -> None:
    problem, scores = case
    found = solve_gate(problem, scores)
    routes = apply_thresholds(scores, found.theta_star, found.delta)
    assert found.value == pytest.approx(problem.gains[np.arange(len(scores)), routes].mean())
    assert found.value == pytest.approx(_brute_force(problem, scores), abs=1e-12)
    assert found.delta >= 0
    assert found.value <= found.optimum + 1e-9
    assert found.optimum <= found.dual + 1e-9
    assert found.gap >= -1e-9


def test_a_budget_smaller_than_the_solvers_tolerance_is_kept_by_the_bounds() -> None:
    gains = np.zeros((12, 3))
    gains[:, 1:] = 0.3
    found = solve_gate(_problem(gains, 3.9e-8, np.array([0.125, 0.25, 0.25]), 0.0), np.zeros(12))
    assert found.value == 0
    assert 0 <= found.optimum <= found.dual


@settings(max_examples=60, deadline=None)
@given(problems())
def test_budget_and_chance_to_be_late_are_kept(case: tuple[GateProblem, Floats]) -> None:
    problem, scores = case
    found = solve_gate(problem, scores)
    routes = apply_thresholds(scores, found.theta_star, found.delta)
    assert problem.costs_ms[routes].mean() == pytest.approx(found.cost_ms)
    assert found.cost_ms <= problem.budget_ms + 1e-9
    assert problem.late[routes].mean() == pytest.approx(found.late)
    assert found.late <= max(problem.late_limit, problem.late[0]) + 1e-9
    assert found.routed == pytest.approx(np.bincount(routes, minlength=3) / len(scores))


@pytest.mark.parametrize("budget", [0.1, 0.5, 1.0, 5.0])
def test_where_scores_tell_the_gain_thresholds_come_close_to_the_best_policy(budget: float) -> None:
    scores = np.random.default_rng(0).normal(0.02, 0.05, 300)
    found = solve_gate(_problem(_proportional(scores), budget), scores)
    assert 0 <= found.gap < 0.03 * found.optimum
    assert found.dual - found.optimum < 0.01 * found.optimum


def test_the_price_of_a_millisecond_is_what_one_more_would_gain() -> None:
    scores = np.random.default_rng(1).normal(0.02, 0.05, 400)
    problem = _problem(_proportional(scores), 0.4)
    found = solve_gate(problem, scores)
    more = knapsack_optimum(replace(problem, budget_ms=0.41)) - knapsack_optimum(replace(problem, budget_ms=0.39))
    assert found.multiplier == pytest.approx(more / 0.02, rel=0.1)
    assert found.trajectory.shape == (2000,)
    assert (found.trajectory >= 0).all()


def test_the_optimum_is_that_of_the_fractional_knapsack() -> None:
    gains = np.array([[0, 0, 4.0], [0, 0, 3.0], [0, 0, 2.0], [0, 0, -1.0]])
    assert knapsack_optimum(_problem(gains, 2.0)) == pytest.approx((4 + 3 + 2) / 4)
    assert knapsack_optimum(_problem(gains, 0.75)) == pytest.approx((4 + 0.5 * 3) / 4)


def test_no_gain_means_that_nothing_fires() -> None:
    scores = np.linspace(-0.1, 0.1, 30)
    found = solve_gate(_problem(np.zeros((30, 3)), 5.0), scores)
    assert found.routed == (1, 0, 0)
    assert found.value == 0
    assert not apply_thresholds(scores + 0.05, found.theta_star, found.delta).any(), "nor on slightly higher scores"


def test_no_budget_means_that_nothing_fires() -> None:
    scores = np.linspace(0.01, 0.1, 30)
    assert solve_gate(_problem(_proportional(scores), 0.0), scores).routed == (1, 0, 0)


def test_a_base_that_is_late_itself_is_held_to_its_own_lateness() -> None:
    scores = np.linspace(0.01, 0.1, 40)
    late = np.array([0.2, 0.1, 0.4])
    found = solve_gate(_problem(_proportional(scores), 5.0, late, 0.05), scores)
    assert found.routed == pytest.approx((0, 0.675, 0.325))
    assert 0.05 < found.late <= 0.2
    assert found.dual == pytest.approx(found.optimum, rel=0.02)


def test_scores_that_differ_by_rounding_take_the_same_route() -> None:
    scores = np.repeat([0.1, 0.1 + 1e-16], 5)
    gains = np.stack([0 * scores, 0 * scores, scores], axis=1)
    half, all_of_them = (solve_gate(_problem(gains, budget), scores) for budget in (1.0, 2.0))
    assert scores[0] < scores[5]
    assert half.routed == (1, 0, 0)
    assert all_of_them.routed == (0, 0, 1)


def test_two_thousand_queries_are_solved_exactly() -> None:
    scores = np.random.default_rng(2).normal(0.0, 0.05, 2000)
    found = solve_gate(_problem(_proportional(scores), 0.5, np.array([0.01, 0.02, 0.1])), scores)
    assert found.gap < 0.01 * found.optimum


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"gains": np.zeros((4, 2))}, "shape"),
        ({"gains": np.full((4, 3), np.nan)}, "finite"),
        ({"gains": np.ones((4, 3))}, "doing nothing"),
        ({"costs_ms": np.array([0, 1.0])}, "three costs"),
        ({"costs_ms": np.array([0, -1.0, 2])}, "negative"),
        ({"costs_ms": np.array([1, 1.0, 2])}, "doing nothing"),
        ({"late": np.zeros(2)}, "three"),
        ({"late": np.array([0, 0, 1.5])}, "between 0 and 1"),
        ({"late_limit": -0.1}, "between 0 and 1"),
        ({"budget_ms": -1.0}, "negative"),
        ({"budget_ms": float("nan")}, "finite"),
        ({"budget_ms": float("inf")}, "finite"),
    ],
)
def test_a_problem_that_makes_no_sense_is_refused(changes: dict[str, object], complaint: str) -> None:
    problem = replace(_problem(np.zeros((4, 3)), 1.0), **changes)
    with pytest.raises(InvalidInputError, match=complaint):
        solve_gate(problem, np.zeros(4))


@pytest.mark.parametrize("scores", [np.zeros(3), np.full(4, np.nan), np.zeros((4, 1))])
def test_scores_must_be_one_number_a_query(scores: Floats) -> None:
    with pytest.raises(InvalidInputError, match="one finite number a query"):
        solve_gate(_problem(np.zeros((4, 3)), 1.0), scores)


def test_without_queries_there_is_no_gate() -> None:
    with pytest.raises(InsufficientDataError):
        solve_gate(_problem(np.zeros((0, 3)), 1.0), np.zeros(0))
    with pytest.raises(InsufficientDataError):
        gate_curve(np.zeros(0), np.zeros(0))


class TestCurve:
    scores = np.array([0.4, 0.3, 0.2, 0.1])
    realised = np.array([0.2, -0.1, 0.4, 0.0])

    def test_it_adds_up_gains_from_the_highest_score_down(self) -> None:
        curve = gate_curve(self.scores, self.realised)
        assert curve.fired.tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert curve.gain == pytest.approx([0, 0.05, 0.025, 0.125, 0.125])
        assert curve.oracle == pytest.approx([0, 0.1, 0.15, 0.15, 0.125])
        assert curve.hits == pytest.approx([0, 0.5, 0.5, 1, 1])
        assert curve.false_alarms == pytest.approx([0, 0, 0.5, 0.5, 1])

    @given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=30))
    def test_the_oracle_is_never_below_and_both_end_alike(self, pairs: list[tuple[float, float]]) -> None:
        scores, realised = np.array(pairs).T
        curve = gate_curve(scores, realised)
        assert (curve.oracle >= curve.gain - 1e-12).all()
        assert curve.gain[-1] == pytest.approx(realised.mean())
        assert curve.oracle[-1] == pytest.approx(realised.mean())
        assert curve.oracle.max() == pytest.approx(np.maximum(realised, 0).mean())

    def test_a_gain_that_is_no_number_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="not finite"):
            gate_curve(self.scores, np.array([0, np.nan, 0, 0]))
        with pytest.raises(InvalidInputError, match="one score and one realised gain"):
            gate_curve(self.scores, self.realised[:3])
