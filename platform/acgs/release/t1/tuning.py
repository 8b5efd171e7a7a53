"""Choices on some queries: the baseline T0, the rerankers' weights, the router and the gate.

Nothing here looks at other queries than those it is given; `confirmation` gives it all folds but one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acgs.release.t1.passes import JudgedPass, example
from acgs.release.t1.plan import T1Plan
from acgs.retrieval.gate import GateProblem, GateSolution, solve_gate
from acgs.retrieval.index import Bm25Options
from acgs.retrieval.query_features import NAMES
from acgs.retrieval.rerankers import CHEAP_FEATURES, FULL_FEATURES, ListwiseExample, learn_weights
from acgs.retrieval.router.distillation import Distillation, distill
from acgs.retrieval.search import Searcher
from acgs.retrieval.vectors import best
from acgs.statistics.evidence import Floats, InsufficientDataError

Ints = NDArray[np.int32]
Passes = Mapping[Bm25Options, Sequence[JudgedPass]]

_CHEAP: Final = len(CHEAP_FEATURES)
"""The cheap reranker's features are the first of the full one's."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """T0: the best single stage on the queries it was chosen on."""

    bm25: Bm25Options
    tau: float
    ndcg: float
    """On those queries."""


def choose_baseline(passes: Passes, plan: T1Plan, chosen: NDArray[np.intp]) -> Baseline:
    """Highest mean nDCG@10 over BM25's options and the shares of the dense leg; tau = 0 is BM25 alone.

    Ties go to the earlier option, then to the lower share.
    """
    found = [
        Baseline(
            options,
            tau,
            float(np.mean([passes[options][row].ndcg(best(passes[options][row].fused(tau), 10)) for row in chosen])),
        )
        for options in plan.bm25
        for tau in plan.taus
    ]
    return max(found, key=lambda item: item.ndcg)


@dataclass(frozen=True, slots=True)
class Heads:
    """The candidates that are reranked, for every query, under one baseline."""

    order: list[Ints]
    """Places of the head, by query."""
    examples: list[ListwiseExample]
    base: Floats
    """(queries,) nDCG@10 of the baseline"""


def heads(searcher: Searcher, passes: Sequence[JudgedPass], baseline: Baseline, depth: int) -> Heads:
    """Heads of all queries."""
    pairs = [example(searcher, judged, baseline.tau, depth) for judged in passes]
    base = [judged.ndcg(order) for judged, (order, _) in zip(passes, pairs, strict=True)]
    return Heads([order for order, _ in pairs], [item for _, item in pairs], np.array(base))


@dataclass(frozen=True, slots=True)
class Learned:
    """Weights of both rerankers and what cross-fitting says of them."""

    cheap: Floats
    full: Floats
    shrinkage: tuple[float, float]
    """Of the cheap and the full one."""
    gains: Floats
    """(queries, 3) cross-fitted change of nDCG@10 by route: none, cheap, full; first column 0"""


def learn_rerankers(passes: Sequence[JudgedPass], held: Heads, chosen: NDArray[np.intp], plan: T1Plan) -> Learned:
    """Learn on `chosen` queries; shrinkage by cross-fitting, the strongest within one standard error of the best.

    The one-standard-error rule is Breiman's (1984, section 3.4.3): with few queries the baseline's order is kept.
    """
    folds = fold_numbers(len(chosen), plan.inner_folds, plan.seed)
    weights: list[Floats] = []
    shrinkages: list[float] = []
    columns = [np.zeros(len(chosen))]
    for names in (CHEAP_FEATURES, FULL_FEATURES):
        width = len(names)
        tried = {
            shrinkage: _cross_fitted(passes, held, chosen, folds, width, names, shrinkage)
            for shrinkage in plan.shrinkages
        }
        shrinkage = _one_standard_error(tried)
        columns.append(tried[shrinkage])
        shrinkages.append(shrinkage)
        weights.append(learn_weights(_of_width(held, chosen, width), names, shrinkage=shrinkage))
    return Learned(weights[0], weights[1], (shrinkages[0], shrinkages[1]), np.stack(columns, axis=1))


@dataclass(frozen=True, slots=True)
class Routed:
    """The router with its gate, or the reason why there is none."""

    distillation: Distillation | None
    gate: GateSolution | None
    reason: str


def choose_gate(
    passes: Sequence[JudgedPass],
    learned: Learned,
    baseline: Baseline,
    chosen: NDArray[np.intp],
    plan: T1Plan,
    costs_ms: Floats,
    late: Floats,
) -> Routed:
    """Distil a router on cross-fitted gains, and set the gate on what it predicts.

    Args:
        costs_ms: (3,) mean milliseconds of no, cheap and full rerank.
        late: (3,) chance to be later than the baseline's p95 plus the margin.
    """
    features = np.array([passes[row].first.features for row in chosen])
    gains = learned.gains
    targets = {
        "tau": np.array([_best_tau(passes[row], baseline.tau, plan.taus) for row in chosen]),
        "spend": costs_ms[_cheapest_best(gains)],
        "gain": gains[:, 2],
    }
    folds = fold_numbers(len(chosen), plan.inner_folds, plan.seed + 1)
    try:
        distillation = distill(features, NAMES, targets, folds, plan.seed)
    except InsufficientDataError as error:
        return Routed(None, None, error.message)
    scores = distillation.router().predict(features).gain
    predicted = np.stack([np.zeros(len(scores)), _share_of(gains[:, 1], gains[:, 2]) * scores, scores], axis=1)
    problem = GateProblem(predicted, costs_ms, plan.budget_ms, late)
    return Routed(distillation, solve_gate(problem, scores), "")


def fold_numbers(queries: int, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each query, shape (queries,): folds of even size in an order drawn by the seed."""
    numbers: NDArray[np.int64] = np.random.default_rng(seed).permutation(np.arange(queries) % folds)
    return numbers


def _cross_fitted(
    passes: Sequence[JudgedPass],
    held: Heads,
    chosen: NDArray[np.intp],
    folds: NDArray[np.int64],
    width: int,
    names: Sequence[str],
    shrinkage: float,
) -> Floats:
    """Change of nDCG@10 of each chosen query under weights learned without its fold."""
    gains = np.zeros(len(chosen))
    for fold in np.unique(folds):
        weights = learn_weights(_of_width(held, chosen[folds != fold], width), names, shrinkage=shrinkage)
        for place in np.flatnonzero(folds == fold):
            row = chosen[place]
            gains[place] = reranked_ndcg(passes[row], held, int(row), weights) - held.base[row]
    return gains


def reranked_ndcg(judged: JudgedPass, held: Heads, row: int, weights: Floats) -> float:
    """nDCG@10 of a query when its head is put in the order of the weights."""
    scores = (held.examples[row].features[:, : len(weights)] @ weights).astype(np.float32)
    return judged.ndcg(held.order[row][best(scores, 10)])


def _of_width(held: Heads, chosen: NDArray[np.intp], width: int) -> list[ListwiseExample]:
    return [ListwiseExample(held.examples[row].features[:, :width], held.examples[row].grades) for row in chosen]


def _one_standard_error(tried: Mapping[float, Floats]) -> float:
    """The strongest shrinkage whose mean is within one standard error of the best mean."""
    top = max(tried, key=lambda shrinkage: float(tried[shrinkage].mean()))
    values = tried[top]
    close = []
    for shrinkage, others in tried.items():
        # The error of the difference: both were measured on the same queries.
        error = float((values - others).std(ddof=1)) / len(values) ** 0.5
        if float(values.mean() - others.mean()) <= error:
            close.append(shrinkage)
    return max(close)


def _cheapest_best(gains: Floats) -> NDArray[np.intp]:
    """The first route of highest gain, so that a cheaper one wins a tie."""
    found: NDArray[np.intp] = gains.argmax(axis=1)
    return found


def _best_tau(judged: JudgedPass, baseline: float, taus: Sequence[float]) -> float:
    """The share of the dense leg of highest nDCG@10; of equal ones the nearest to the baseline's."""
    return max(taus, key=lambda tau: (judged.ndcg(best(judged.fused(tau), 10)), -abs(tau - baseline)))


def _share_of(cheap: Floats, full: Floats) -> float:
    """What part of the full rerank's gain the cheap one brings, by least squares through 0, within [0, 1]."""
    total = float(full @ full)
    return min(1.0, max(0.0, float(cheap @ full) / total)) if total > 0 else 0.0
