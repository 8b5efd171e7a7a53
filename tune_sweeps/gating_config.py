"""Settings of the gating sweep: what is varied within which limits, and what is recorded of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Final, Self

import numpy as np
from pydantic import Field, model_validator

from acgs.release.t1.plan import T1Plan
from tune_sweeps.retrieval_work import Part, RetrievalSweep

LATE_LIMIT: Final = 0.05
"""Share of the queries that may be later than the baseline's p95 and the margin."""
_Depth = Annotated[int, Field(ge=10, le=1000)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class GatingSpace(Part):
    """What is varied."""

    depth: tuple[_Depth, ...] = Field((20, 50, 100), min_length=1, description="candidates that are reranked")
    shrinkage: tuple[_Positive, ...] = Field((0.003, 0.03, 0.3), min_length=1, description="of the rerankers' weights")
    budget_ms: tuple[_Positive, ...] = Field((0.25, 0.5, 1.0), min_length=1, description="as the gate is told")
    p95_margin_ms: tuple[_Positive, ...] = Field((0.5, 1.0), min_length=1, description="as the gate is told")


class GatingLimits(Part):
    """What a gate may cost on queries that it was not chosen on."""

    mean_ms: _Positive = Field(1.0, description="mean milliseconds that reranking may add")
    p95_margin_ms: _Positive = Field(1.0, description="how much the p95 of latency may rise")


class GatingConfig(RetrievalSweep):
    """A whole sweep. Its trials are drawn beforehand from `seed`."""

    corpus: Path = Field(description="folder with docs.jsonl, queries.jsonl and qrels.tsv (BEIR's layout)")
    plan: T1Plan = Field(T1Plan(), description="grids of the baseline and of the cross-fitting, seed and topk")
    space: GatingSpace = GatingSpace()
    limits: GatingLimits = GatingLimits()
    trials: int = Field(24, ge=1, le=10_000, description="drawn from the space; all of it where it has no more")
    held_out: float = Field(0.3, gt=0, lt=1, description="share of the judged queries that no trial sees")
    grace_folds: int = Field(2, ge=1, description="folds that every trial gets (ASHA)")
    reduction_factor: int = Field(2, ge=2, description="of so many trials one goes on at each rung (ASHA)")
    cost_queries: int = Field(100, ge=1, description="training queries on which the routes are timed")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.grace_folds > self.plan.folds:
            raise ValueError("grace_folds is more than the plan's folds")
        return self

    @property
    def seed(self) -> int:
        """Of the split, the draw and everything below."""
        return self.plan.seed


class GatingTrial(Part):
    """One draw."""

    number: int
    depth: int
    shrinkage: float
    budget_ms: float
    p95_margin_ms: float

    def plan(self, plan: T1Plan) -> T1Plan:
        """The plan with this trial's settings."""
        return plan.model_copy(
            update={
                "depths": (self.depth,),
                "shrinkages": (self.shrinkage,),
                "budget_ms": self.budget_ms,
                "p95_margin_ms": self.p95_margin_ms,
            }
        )


class FoldFigures(Part):
    """What choices made without a fold's queries did with them."""

    fold: int
    queries: int
    gain: float
    """Mean nDCG@10 less the baseline's."""
    cost_ms: float
    """Mean milliseconds that reranking added."""
    late: float
    """Share of queries later than the baseline's p95 and the limit's margin."""
    fired: float
    """Share of queries that were reranked."""
    gated: bool
    """Whether there were queries enough for a router and a gate."""


class GatingRow(Part):
    """What is recorded of a trial."""

    trial: GatingTrial
    ending: str
    folds: tuple[FoldFigures, ...] = ()
    score: float | None = None

    def __str__(self) -> str:
        """One line for people."""
        trial = self.trial
        said = f"depth {trial.depth}, shrinkage {trial.shrinkage:g}, budget {trial.budget_ms:g} ms"
        said = f"{said}, margin {trial.p95_margin_ms:g} ms: {self.ending}"
        if not self.folds:
            return said
        seen = mean(self.folds)
        return f"{said}, {len(self.folds)} folds, gain {seen.gain:+.4f}, {seen.cost_ms:.2f} ms"


def draw(config: GatingConfig) -> list[GatingTrial]:
    """The trials, a function of the configuration alone."""
    space = config.space
    points = list(product(space.depth, space.shrinkage, space.budget_ms, space.p95_margin_ms))
    order = np.random.default_rng(config.seed).permutation(len(points))[: config.trials]
    return [
        GatingTrial(number=number, depth=depth, shrinkage=shrinkage, budget_ms=budget, p95_margin_ms=margin)
        for number, (depth, shrinkage, budget, margin) in enumerate(points[place] for place in sorted(order))
    ]


def mean(folds: Sequence[FoldFigures]) -> FoldFigures:
    """Figures over the queries of some folds together; `fold` is their number."""
    queries = [item.queries for item in folds]

    def of(name: str) -> float:
        return float(np.average([getattr(item, name) for item in folds], weights=queries))

    return FoldFigures(
        fold=len(folds),
        queries=sum(queries),
        gain=of("gain"),
        cost_ms=of("cost_ms"),
        late=of("late"),
        fired=of("fired"),
        gated=all(item.gated for item in folds),
    )


def score(folds: Sequence[FoldFigures], limits: GatingLimits, base_late: float) -> float:
    """The gain, or below -1 where a limit is passed: what keeps the limits comes before what does not (Deb 2000).

    Args:
        base_late: share of queries by which the baseline itself is late; a gate cannot undo it.
    """
    seen = mean(folds)
    over = max(seen.cost_ms / limits.mean_ms, seen.late / max(LATE_LIMIT, base_late)) - 1
    return -1 - over if over > 1e-9 else seen.gain


def keeps_limits(value: float) -> bool:
    """Whether a score is that of a gate within its limits."""
    return value >= -1


def best_of(rows: Sequence[GatingRow], folds: int) -> GatingRow | None:
    """The trial of highest score among those that came to their end within the limits; of equal ones the cheapest."""
    ended = [row for row in rows if len(row.folds) == folds and row.score is not None and keeps_limits(row.score)]
    return max(ended, key=lambda row: (row.score, -mean(row.folds).cost_ms), default=None)
