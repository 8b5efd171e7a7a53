"""Choices on some queries: the baseline T0, the rerankers' weights, the router and the gate.

Nothing here looks at other queries than those it is given; `confirmation` gives it all folds but one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acgs.release.t1.latency import RouteCosts
from acgs.release.t1.passes import JudgedPass, example
from acgs.release.t1.plan import T1Plan
from acgs.retrieval.gate import GateProblem, GateSolution, apply_thresholds, solve_gate
from acgs.retrieval.index import Bm25Options
from acgs.retrieval.query_features import NAMES
from acgs.retrieval.rerankers import CHEAP_FEATURES, FULL_FEATURES, ListwiseExample, learn_weights
from acgs.retrieval.router.distillation import Distillation, distill
from acgs.retrieval.router.fidelity import MARGIN
from acgs.retrieval.search import Searcher
from acgs.retrieval.vectors import best
from acgs.statistics.evidence import Floats, InsufficientDataError

Ints = NDArray[np.int32]
Passes = Mapping[Bm25Options, Sequence[JudgedPass]]


@dataclass(frozen=True, slots=True)
class Baseline:
    """T0: the best single stage on the queries it was chosen on."""

    bm25: Bm25Options
    tau: float
    ndcg: float
    """On those queries."""


def single_stages(passes: Passes, plan: T1Plan) -> Floats:
    """nDCG@10 of every query under each of BM25's options and each share of the dense leg, (options, shares, queries);
    a share of 0 is BM25 alone."""
    return np.array(
        [[[judged.ndcg_fused(tau) for judged in passes[options]] for tau in plan.taus] for options in plan.bm25]
    )


def choose_baseline(stages: Floats, plan: T1Plan, chosen: NDArray[np.intp]) -> Baseline:
    """The single stage of highest mean nDCG@10 on the chosen queries.

    Ties go to the earlier option, then to the lower share.

    Args:
        stages: of `single_stages`.
    """
    means = stages[:, :, chosen].mean(axis=2)
    option, share = np.unravel_index(means.argmax(), means.shape)
    return Baseline(plan.bm25[option], plan.taus[share], float(means.max()))


@dataclass(frozen=True, slots=True)
class Heads:
    """The candidates that are reranked, for every query, under one baseline."""

    depth: int
    order: list[Ints]
    """Places of the head, by query."""
    examples: list[ListwiseExample]
    base: Floats
    """(queries,) nDCG@10 of the baseline"""


def heads(searcher: Searcher, passes: Sequence[JudgedPass], baseline: Baseline, depth: int) -> Heads:
    """Heads of all queries."""
    pairs = [example(searcher, judged, baseline.tau, depth) for judged in passes]
    base = [judged.ndcg_fused(baseline.tau) for judged in passes]
    return Heads(depth, [order for order, _ in pairs], [item for _, item in pairs], np.array(base))


@dataclass(frozen=True, slots=True)
class Basis:
    """What reranking starts from, for every query: first passes and heads under one baseline."""

    passes: Sequence[JudgedPass]
    heads: Heads


@dataclass(frozen=True, slots=True)
class Learned:
    """Weights of both rerankers and what cross-fitting says of them."""

    depth: int
    cheap: Floats
    full: Floats
    shrinkage: tuple[float, float]
    """Of the cheap and the full one."""
    gains: Floats
    """(queries, 3) cross-fitted change of nDCG@10 by route: none, cheap, full; first column 0"""


def learn_rerankers(basis: Callable[[NDArray[np.intp]], Basis], chosen: NDArray[np.intp], plan: T1Plan) -> Learned:
    """Learn on `chosen` queries; the shrinkage is that of the highest lower bound of the cross-fitted gain.

    The bound, not the mean: of two that gain alike the steadier one is taken, which is mostly the stronger.

    Args:
        basis: that of the baseline chosen on the queries given. It is asked for each part of the cross-fitting, too: a
            baseline looks better on the queries that it was chosen on, and a gain over it smaller.
    """
    parts = [
        _Part(basis(chosen[folds != fold]), chosen[folds != fold], np.flatnonzero(folds == fold))
        for folds in _divisions(len(chosen), plan)
        for fold in np.unique(folds)
    ]
    held = basis(chosen).heads
    weights: list[Floats] = []
    shrinkages: list[float] = []
    columns = [np.zeros(len(chosen))]
    for names in (CHEAP_FEATURES, FULL_FEATURES):
        tried = {each: _cross_fitted(parts, chosen, names=names, shrinkage=each) for each in plan.shrinkages}
        shrinkage = max(tried, key=lambda each: (sure_mean(tried[each], plan.bound_errors), each))
        columns.append(tried[shrinkage])
        shrinkages.append(shrinkage)
        weights.append(learn_weights(_of_width(held, chosen, len(names)), names, shrinkage=shrinkage))
    return Learned(held.depth, weights[0], weights[1], (shrinkages[0], shrinkages[1]), np.stack(columns, axis=1))


@dataclass(frozen=True, slots=True)
class Routed:
    """The router with its gate, or the reason why there is none."""

    distillation: Distillation | None
    gate: GateSolution | None
    reason: str
    per_query: bool = False
    """Whether router and gate part queries at all, by tau, spend or route: asking them costs every query."""


def choose_gate(
    passes: Sequence[JudgedPass],
    learned: Learned,
    baseline: Baseline,
    *,
    depths: tuple[Heads, Heads],
    chosen: NDArray[np.intp],
    plan: T1Plan,
    costs: RouteCosts,
) -> Routed:
    """Distil a router on cross-fitted gains, and set the gate on what it predicts.

    Args:
        depths: heads of half the depth and of the whole.
    """
    features = np.array([passes[row].first.features for row in chosen])
    gains = learned.gains
    losses = losses_of_half(passes, depths, learned.full, chosen)
    half_ms, whole_ms = (costs.cheap_ms + heads.depth * costs.candidate_ms for heads in depths)
    targets = {
        "tau": np.array([_best_tau(passes[row], baseline.tau, plan.taus) for row in chosen]),
        "spend": np.where(losses <= 0, half_ms, whole_ms),
        "gain": gains[:, 2],
    }
    folds = fold_numbers(len(chosen), plan.inner_folds, plan.seed + 1)
    try:
        distillation = distill(features, NAMES, targets, folds, plan.seed)
        fixed = {}
        if not _tau_helps(passes, baseline, chosen, distillation.teacher["tau"], plan.bound_errors):
            fixed["tau"] = np.full(len(chosen), baseline.tau)
        if not _spend_keeps(losses, distillation.teacher["spend"], whole_ms, plan.bound_errors):
            fixed["spend"] = np.full(len(chosen), whole_ms)
        if fixed:
            distillation = distill(features, NAMES, targets | fixed, folds, plan.seed)
    except InsufficientDataError as error:
        return Routed(None, None, error.message)
    scores = distillation.router().predict(features).gain
    problem = GateProblem(
        sure_gains(gains, distillation.teacher["gain"], scores, plan.bound_errors),
        costs.mean_ms,
        plan.budget_ms,
        costs.late,
    )
    gate = solve_gate(problem, scores)
    decided = distillation.decided_at((gate.theta_star - gate.delta, gate.theta_star))
    return Routed(decided, gate, "", per_query=max(gate.routed) < 1 or not fixed.keys() >= {"tau", "spend"})


def losses_of_half(
    passes: Sequence[JudgedPass], depths: tuple[Heads, Heads], weights: Floats, chosen: NDArray[np.intp]
) -> Floats:
    """nDCG@10 that each query loses where the full rerank sees half the depth, below 0 where it gains."""
    half, whole = depths
    return np.array(
        [
            reranked_ndcg(passes[row], whole, int(row), weights) - reranked_ndcg(passes[row], half, int(row), weights)
            for row in chosen
        ]
    )


def sure_gains(gains: Floats, teacher: Floats, scores: Floats, errors: float) -> Floats:
    """What each route surely gains, by score, shape (queries, 3): the lower bound of cross-fitted gains.

    Around it the gain follows the score as surely as the teacher's out-of-fold predictions, which have not seen the
    query's gain, follow the gains: with the lower bound of the regression's slope, or not at all. A gain that noise
    explains buys nothing, and a difference between queries that noise explains parts none.

    Args:
        errors: standard errors at which the bounds lie, of `T1Plan.bound_errors`.
    """
    columns = [np.zeros(len(scores))]
    for route in (1, 2):
        realised = gains[:, route]
        columns.append(sure_mean(realised, errors) + sure_slope(teacher, realised, errors) * (scores - scores.mean()))
    return np.stack(columns, axis=1)


def sure_slope(teacher: Floats, realised: Floats, errors: float) -> float:
    """Lower bound of the slope of realised gains over predicted ones, at least 0."""
    centred = teacher - teacher.mean()
    spread = float(centred @ centred)
    if spread <= 0:
        return 0.0
    slope = float(centred @ realised) / spread
    left = realised - realised.mean() - slope * centred
    error = float(np.sqrt(left @ left / (len(left) - 2) / spread))
    return max(0.0, slope - errors * error)


def best_constant(gains: Floats, costs: RouteCosts, plan: T1Plan) -> tuple[int, float]:
    """The one route for all queries that surely gains most within the limits, and that bound; (0, 0) where none does.

    Args:
        gains: (queries, 3) cross-fitted, by route.
    """
    allowed = GateProblem(gains, costs.mean_ms, plan.budget_ms, costs.late).late_allowed
    within = [route for route in (1, 2) if costs.mean_ms[route] <= plan.budget_ms and costs.late[route] <= allowed]
    bounds = {0: 0.0} | {route: sure_mean(gains[:, route], plan.bound_errors) for route in within}
    route = max(bounds, key=lambda each: bounds[each])
    return route, bounds[route]


def _tau_helps(
    passes: Sequence[JudgedPass], baseline: Baseline, chosen: NDArray[np.intp], taus: Floats, errors: float
) -> bool:
    """Whether the teacher's out-of-fold shares of the dense leg surely beat the baseline's one share for all."""
    changes = np.array(
        [
            passes[row].ndcg_fused(float(tau)) - passes[row].ndcg_fused(baseline.tau)
            for row, tau in zip(chosen, taus, strict=True)
        ]
    )
    return sure_mean(changes, errors) > 0


def _spend_keeps(losses: Floats, spends: Floats, whole_ms: float, errors: float) -> bool:
    """Whether the teacher's out-of-fold spends surely lose at most the margin of no regret.

    What pays for less than the whole depth counts as half of it, which is the least that the teacher was shown.
    """
    return sure_mean(np.where(spends < whole_ms, -losses, 0.0), errors) >= -MARGIN


def tables_against_teacher(learned: Learned, routed: Routed) -> Floats:
    """Cross-fitted gain of the routes that the tables choose less that of those the teacher chooses, by query.

    Tables that were fitted without the query's fold stand for those that ship. Empty without a router.
    """
    if routed.distillation is None or routed.gate is None:
        return np.zeros(0)
    rows = np.arange(len(learned.gains))
    theta, delta = routed.gate.theta_star, routed.gate.delta
    by_tables = apply_thresholds(routed.distillation.held_out["gain"], theta, delta)
    by_teacher = apply_thresholds(routed.distillation.teacher["gain"], theta, delta)
    return learned.gains[rows, by_tables] - learned.gains[rows, by_teacher]


def sure_mean(values: Floats, errors: float) -> float:
    """Lower bound of the mean of cross-fitted values, so many standard errors below it (`T1Plan.bound_errors`)."""
    return float(values.mean()) - errors * standard_error(values)


def standard_error(values: Floats) -> float:
    """Of the mean."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


def fold_numbers(queries: int, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each query, shape (queries,): folds of even size in an order drawn by the seed."""
    numbers: NDArray[np.int64] = np.random.default_rng(seed).permutation(np.arange(queries) % folds)
    return numbers


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a cross-fitting."""

    basis: Basis
    """Of the baseline chosen on the queries that teach."""
    taught: NDArray[np.intp]
    left: NDArray[np.intp]
    """Places, among the chosen queries, of those that do not teach."""


def _cross_fitted(
    parts: Sequence[_Part], chosen: NDArray[np.intp], *, names: Sequence[str], shrinkage: float
) -> Floats:
    """Change of nDCG@10 of each chosen query under choices made without it, the mean over divisions."""
    gains, times = np.zeros(len(chosen)), np.zeros(len(chosen))
    for part in parts:
        held = part.basis.heads
        weights = learn_weights(_of_width(held, part.taught, len(names)), names, shrinkage=shrinkage)
        for place in part.left:
            row = int(chosen[place])
            gains[place] += reranked_ndcg(part.basis.passes[row], held, row, weights) - held.base[row]
        times[part.left] += 1
    return gains / times


def _divisions(queries: int, plan: T1Plan) -> list[NDArray[np.int64]]:
    repeats = range(plan.times_divided(queries))
    return [fold_numbers(queries, plan.inner_folds, plan.seed + repeat) for repeat in repeats]


def reranked_ndcg(judged: JudgedPass, held: Heads, row: int, weights: Floats) -> float:
    """nDCG@10 of a query when its head is put in the order of the weights."""
    scores = (held.examples[row].features[:, : len(weights)] @ weights).astype(np.float32)
    return judged.ndcg(held.order[row][best(scores, 10)])


def _of_width(held: Heads, chosen: NDArray[np.intp], width: int) -> list[ListwiseExample]:
    return [ListwiseExample(held.examples[row].features[:, :width], held.examples[row].grades) for row in chosen]


def _best_tau(judged: JudgedPass, baseline: float, taus: Sequence[float]) -> float:
    """The share of the dense leg of highest nDCG@10; of equal ones the nearest to the baseline's."""
    return max(taus, key=lambda tau: (judged.ndcg_fused(tau), -abs(tau - baseline)))
