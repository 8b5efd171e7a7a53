"""Choices look at the queries they are given and at no others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from acgs.release.t1.confirmation import Workbench, choose, configuration
from acgs.release.t1.latency import RouteCosts
from acgs.release.t1.plan import T1Plan
from acgs.release.t1.tuning import (
    Basis,
    Routed,
    best_constant,
    choose_baseline,
    fold_numbers,
    learn_rerankers,
    single_stages,
    sure_gains,
    sure_mean,
    sure_slope,
)
from acgs.retrieval.configuration import Route
from tests.acgs.release.t1.conftest import Run

ERRORS = T1Plan().bound_errors
COST = RouteCosts(
    mean_ms=np.array([0.0, 0.2, 0.8]),
    late=np.array([0.0, 0.01, 0.03]),
    base_p95_ms=10.0,
    base_mean_ms=8.0,
    margin_ms=1.0,
    cheap_ms=0.2,
    candidate_ms=0.03,
)
COSTS = {10: COST, 20: COST}


def scrambled(run: Run, rows: set[int]) -> Workbench:
    """The run's bench with the grades of some queries turned round."""
    passes = {
        options: [
            replace(item, grades=item.grades[::-1].copy()) if row in rows else item for row, item in enumerate(judged)
        ]
        for options, judged in run.found.bench.passes.items()
    }
    bench = run.found.bench
    return Workbench(bench.indexes, bench.searchers, passes, bench.encoder, bench.plan)


def test_what_is_left_out_cannot_change_a_choice(run: Run) -> None:
    queries = len(run.found.confirmed)
    chosen = np.arange(0, queries, 2)
    left_out = set(range(queries)) - set(chosen.tolist())
    first, second = choose(run.found.bench, chosen, COSTS), choose(scrambled(run, left_out), chosen, COSTS)
    assert first.baseline == second.baseline
    assert first.configuration == second.configuration


def test_what_is_chosen_on_does_change_the_choice(run: Run) -> None:
    queries = len(run.found.confirmed)
    chosen = np.arange(queries)
    first, second = choose(run.found.bench, chosen, COSTS), choose(scrambled(run, set(range(queries))), chosen, COSTS)
    assert first.configuration != second.configuration


def test_the_baseline_is_the_best_of_its_grid(run: Run) -> None:
    bench = run.found.bench
    chosen = np.arange(len(run.found.confirmed))
    stages = single_stages(bench.passes, bench.plan)
    best = choose_baseline(stages, bench.plan, chosen)
    assert best == bench.baseline(chosen)
    assert best.ndcg == pytest.approx(stages.mean(axis=2).max())
    judged = bench.passes[best.bm25]
    assert best.ndcg == pytest.approx(np.mean([item.ndcg_fused(best.tau) for item in judged]))
    assert choose_baseline(stages[:, :1], bench.plan, chosen).tau == 0, "of BM25 alone"
    assert choose_baseline(np.zeros_like(stages), bench.plan, chosen).bm25 == bench.plan.bm25[0], "a tie"


def test_a_gain_is_over_a_baseline_that_was_chosen_without_the_query(run: Run) -> None:
    """A baseline looks better on the queries that it was chosen on: over it, gains would look smaller than they are."""
    bench, asked = run.found.bench, []
    chosen = np.arange(0, len(run.found.confirmed), 2)

    def basis(rows: NDArray[np.intp]) -> Basis:
        asked.append(set(rows.tolist()))
        # A baseline that is perfect on what it was chosen on, and worth nothing elsewhere.
        found = bench.basis(chosen, 20)
        base = np.isin(np.arange(len(found.heads.base)), rows).astype(np.float64)
        return replace(found, heads=replace(found.heads, base=base))

    gains = learn_rerankers(basis, chosen, bench.plan).gains
    parts = bench.plan.inner_folds * bench.plan.times_divided(len(chosen))
    assert sum(len(rows) < len(chosen) for rows in asked) == parts
    assert all(rows <= set(chosen.tolist()) for rows in asked)
    assert gains.min() >= 0
    assert gains[:, 1:].mean() > 0.2


def test_bounds_lie_the_lower_the_more_is_tried_and_the_fewer_folds_there_are() -> None:
    assert pytest.approx(3.281, abs=1e-3) == ERRORS
    assert T1Plan(depths=(20, 30, 40)).bound_errors > ERRORS > T1Plan(depths=(20,)).bound_errors
    assert T1Plan(inner_folds=3).bound_errors > ERRORS > T1Plan(inner_folds=20).bound_errors


def test_few_queries_are_divided_anew_and_many_once() -> None:
    plan = T1Plan()
    assert [plan.times_divided(queries) for queries in (12, 50, 148, 400, 500, 10_000)] == [5, 5, 3, 1, 1, 1]


def test_folds_are_even_and_drawn_by_the_seed() -> None:
    numbers = fold_numbers(23, 5, 1)
    assert sorted(np.bincount(numbers).tolist()) == [4, 4, 5, 5, 5]
    assert numbers.tolist() == fold_numbers(23, 5, 1).tolist()
    assert numbers.tolist() != fold_numbers(23, 5, 2).tolist()


def test_gains_that_noise_explains_buy_nothing() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.1, 80)
    gains = np.stack([np.zeros(80), noise, noise], axis=1)
    sure = sure_gains(gains, rng.normal(size=80) * 1e-6, np.zeros(80), ERRORS)
    assert sure[:, 2].max() < noise.mean()
    assert sure_mean(np.full(40, 0.02) + rng.normal(0, 1e-4, 40), ERRORS) == pytest.approx(0.02, abs=1e-3)


def test_a_difference_between_queries_that_noise_explains_parts_none() -> None:
    rng = np.random.default_rng(1)
    teacher = rng.normal(size=200)
    assert sure_slope(teacher, rng.normal(size=200), ERRORS) == 0
    assert sure_slope(teacher, np.zeros(200), ERRORS) == 0
    assert sure_slope(np.zeros(200), teacher, ERRORS) == 0
    assert sure_slope(teacher, 0.5 * teacher + rng.normal(0, 0.1, 200), ERRORS) == pytest.approx(0.5, abs=0.05)


def test_the_one_route_for_all_is_the_surest_that_keeps_the_limits() -> None:
    rng = np.random.default_rng(2)
    gains = np.stack([np.zeros(100), rng.normal(0.02, 0.01, 100), rng.normal(0.04, 0.01, 100)], axis=1)
    plan = T1Plan()
    assert best_constant(gains, COST, plan)[0] == 2
    assert best_constant(gains, replace(COST, mean_ms=np.array([0.0, 0.2, 1.2])), plan)[0] == 1, "too dear"
    assert best_constant(gains, replace(COST, late=np.array([0.05, 0.05, 0.08])), plan)[0] == 1, "too late"
    assert best_constant(-gains, COST, plan) == (0, 0.0)


def test_over_a_search_by_words_a_rerank_pays_for_the_encoder_too() -> None:
    assert COST.over(0.1) is COST
    over = COST.over(0.0)
    assert over.mean_ms.tolist() == [0.0, 8.2, 8.8]
    assert over.late.tolist() == [0.0, 1.0, 1.0]
    gains = np.stack([np.zeros(100), np.full(100, 0.1), np.full(100, 0.2)], axis=1)
    gains[::2] += 1e-3
    assert best_constant(gains - gains[:, :1], over, T1Plan()) == (0, 0.0)
    cheap_encoder = replace(COST, base_mean_ms=0.1).over(0.0)
    assert cheap_encoder.late.tolist() == COST.late.tolist()


def test_a_gate_that_parts_no_queries_is_not_asked(run: Run) -> None:
    choice = run.found.final
    assert choice.routed.gate is not None
    for parts in (True, False):
        routed = replace(choice.routed, per_query=parts)
        made = configuration(run.found.plan, choice.baseline, choice.learned, routed, COST)
        assert (made.gate is not None) == parts


def test_a_useless_reranker_is_not_used(run: Run) -> None:
    """Where no route surely gains, all queries keep the baseline's order."""
    bench = run.found.bench
    chosen = np.arange(len(run.found.confirmed))
    baseline = bench.baseline(chosen)
    learned = learn_rerankers(partial(bench.basis, depth=20), chosen, bench.plan)
    worthless = replace(learned, gains=-np.abs(learned.gains))
    made = configuration(bench.plan, baseline, worthless, Routed(None, None, "too few queries"), COST)
    assert made.route is (Route.FUSED if baseline.tau > 0 else Route.LEXICAL)
