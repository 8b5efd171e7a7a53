"""The candidate on queries that no choice has seen: outer folds, each answered by a searcher made from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from acgs.release.t1.latency import RouteCosts
from acgs.release.t1.passes import JudgedPass, RememberingEncoder, first_stage
from acgs.release.t1.plan import T1Plan
from acgs.release.t1.tuning import (
    Baseline,
    Basis,
    Heads,
    Learned,
    Passes,
    Routed,
    best_constant,
    choose_baseline,
    choose_gate,
    fold_numbers,
    heads,
    learn_rerankers,
    single_stages,
)
from acgs.retrieval.configuration import Gate, Rerankers, RetrievalConfiguration, Route
from acgs.retrieval.encoders import Encoder
from acgs.retrieval.index import Bm25Options, Index
from acgs.retrieval.rerankers import CHEAP_FEATURES, FULL_FEATURES
from acgs.retrieval.routing import RouterPredictor
from acgs.retrieval.search import Ranking, Searcher
from acgs.statistics.evidence import Floats


@dataclass(frozen=True, slots=True)
class Choice:
    """Everything that was chosen on some queries."""

    baseline: Baseline
    learned: Learned
    routed: Routed
    configuration: RetrievalConfiguration

    @property
    def reranks(self) -> bool:
        """Whether the candidate does anything that the baseline does not."""
        return self.configuration.gate is not None or self.configuration.route in (Route.CHEAP, Route.FULL)


@dataclass(frozen=True, slots=True)
class Sides:
    """Baseline and candidate, ready to search."""

    baseline: Searcher
    candidate: Searcher


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What both sides did with a query that neither was chosen on."""

    query: str
    fold: int
    baseline: Ranking
    candidate: Ranking
    baseline_ndcg: float
    candidate_ndcg: float
    full_ndcg: float
    """With the full rerank whatever the gate says, which tells what the gate left or avoided."""
    predicted_gain: float | None
    """What the router says, whether the candidate asks it or not; None without one."""

    @property
    def change(self) -> float:
        """Candidate minus baseline nDCG@10."""
        return self.candidate_ndcg - self.baseline_ndcg


class Workbench:
    """The indexes by BM25 option, first passes and heads of a collection, shared by all folds."""

    def __init__(
        self,
        indexes: Mapping[Bm25Options, Index],
        searchers: Mapping[Bm25Options, Searcher],
        passes: Passes,
        encoder: RememberingEncoder,
        plan: T1Plan,
    ) -> None:
        self.indexes, self.searchers, self.passes = indexes, searchers, passes
        self.encoder, self.plan = encoder, plan
        self._heads: dict[tuple[Bm25Options, float, int], Heads] = {}

    @cached_property
    def _stages(self) -> Floats:
        return single_stages(self.passes, self.plan)

    def baseline(self, chosen: NDArray[np.intp]) -> Baseline:
        """The best single stage on the chosen queries."""
        return choose_baseline(self._stages, self.plan, chosen)

    def basis(self, chosen: NDArray[np.intp], depth: int) -> Basis:
        """What reranking to that depth starts from under the baseline of the chosen queries."""
        baseline = self.baseline(chosen)
        return Basis(self.judged(baseline), self.heads(baseline, depth))

    def heads(self, baseline: Baseline, depth: int) -> Heads:
        """Heads under a baseline, worked out once."""
        key = (baseline.bm25, baseline.tau, depth)
        if key not in self._heads:
            searcher = self.searchers[baseline.bm25]
            self._heads[key] = heads(searcher, self.passes[baseline.bm25], baseline, depth)
        return self._heads[key]

    def judged(self, baseline: Baseline) -> list[JudgedPass]:
        """First passes under a baseline's BM25."""
        return list(self.passes[baseline.bm25])

    def sides(self, choice: Choice, encoder: Encoder | None = None) -> Sides:
        """Searchers of a choice; with an encoder given it is asked anew for every query, as in service."""
        index = self.indexes[choice.baseline.bm25]
        used: Encoder = self.encoder if encoder is None else encoder
        first = choice.configuration.first_stage
        bare = RetrievalConfiguration(first_stage=first, route=Route.FUSED if first.tau > 0 else Route.LEXICAL)
        router = choice.routed.distillation
        predictor = None if router is None else RouterPredictor(router.router())
        return Sides(Searcher(index, used, bare), Searcher(index, used, choice.configuration, predictor))


def choose(bench: Workbench, chosen: NDArray[np.intp], costs: Mapping[int, RouteCosts]) -> Choice:
    """All choices on some queries: T0, the depth, the rerankers, the router, the gate.

    Args:
        costs: of the routes, by the depths to choose from.
    """
    plan = bench.plan
    baseline = bench.baseline(chosen)
    passes = bench.judged(baseline)
    costs = {depth: each.over(baseline.tau) for depth, each in costs.items()}
    learned = {depth: learn_rerankers(partial(bench.basis, depth=depth), chosen, plan) for depth in sorted(costs)}
    depth = max(learned, key=lambda each: best_constant(learned[each].gains, costs[each], plan)[1])
    depths = (bench.heads(baseline, (depth + 1) // 2), bench.heads(baseline, depth))
    routed = choose_gate(passes, learned[depth], baseline, depths=depths, chosen=chosen, plan=plan, costs=costs[depth])
    return Choice(baseline, learned[depth], routed, configuration(plan, baseline, learned[depth], routed, costs[depth]))


def predicted_gains(bench: Workbench, choice: Choice) -> Floats | None:
    """What the choice's router says of every query, whether the configuration asks it or not, shape (queries,)."""
    if choice.routed.distillation is None:
        return None
    features = [judged.first.features for judged in bench.judged(choice.baseline)]
    return choice.routed.distillation.router().predict(features).gain


def configuration(
    plan: T1Plan, baseline: Baseline, learned: Learned, routed: Routed, costs: RouteCosts
) -> RetrievalConfiguration:
    """The document that the search path reads.

    Without a router, or with one that parts no queries, all take the route that gains most, or none where no gain is
    sure.
    """
    alone = Route.FUSED if baseline.tau > 0 else Route.LEXICAL
    route = (alone, Route.CHEAP, Route.FULL)[best_constant(learned.gains, costs, plan)[0]]
    gate = routed.gate if routed.per_query else None
    return RetrievalConfiguration(
        first_stage=first_stage(plan, baseline.tau),
        rerankers=Rerankers(
            depth=learned.depth,
            cheap_ms=costs.cheap_ms,
            candidate_ms=costs.candidate_ms,
            cheap=dict(zip(CHEAP_FEATURES, learned.cheap.tolist(), strict=True)),
            full=dict(zip(FULL_FEATURES, learned.full.tolist(), strict=True)),
        ),
        route=route,
        gate=None if gate is None else Gate(theta_star=gate.theta_star, delta=gate.delta),
    )


@dataclass(frozen=True, slots=True)
class Division:
    """The queries divided into folds, each fold answered by what was chosen on the others."""

    confirmed: Sequence[Confirmed]
    """By query id."""
    choices: Sequence[Choice]
    """By fold."""

    @property
    def change(self) -> float:
        """Mean change of nDCG@10."""
        return float(np.mean([item.change for item in self.confirmed]))


def confirm(
    bench: Workbench, costs: Mapping[int, RouteCosts], *, seed: int, say: Callable[[str], None] = lambda _step: None
) -> Division:
    """Answer every judged query by the choices of the folds that it is not in."""
    passes = next(iter(bench.passes.values()))
    folds = fold_numbers(len(passes), bench.plan.folds, seed)
    found: dict[int, Confirmed] = {}
    choices = []
    for fold in range(bench.plan.folds):
        say(f"choices without fold {fold + 1} of {bench.plan.folds}, and answers to its queries")
        choice = choose(bench, np.flatnonzero(folds != fold), costs)
        sides = bench.sides(choice)
        choices.append(choice)
        gains = predicted_gains(bench, choice)
        for row in np.flatnonzero(folds == fold):
            judged = passes[int(row)]
            base, candidate = sides.baseline.search(judged.text), sides.candidate.search(judged.text)
            full = sides.candidate.search(judged.text, route=Route.FULL)
            scores = [judged.ndcg_of(ranking.numbers) for ranking in (base, candidate, full)]
            found[int(row)] = Confirmed(
                judged.id,
                fold,
                base,
                candidate,
                scores[0],
                scores[1],
                scores[2],
                None if gains is None else float(gains[row]),
            )
    return Division([found[row] for row in sorted(found)], choices)
