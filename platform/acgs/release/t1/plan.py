"""What is tried for a candidate, and within which limits; every choice is made inside it."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from acgs.retrieval.index import Bm25Options
from acgs.statistics.evidence import CONFIDENCE, InsufficientDataError

_Positive = Annotated[float, Field(gt=0)]
_FEWEST_FOLDS: Final = 5
_MOST_TIMES: Final = 5
"""More divisions of the same queries say hardly more of them."""
_RERANKS: Final = 2
"""Routes of which the best is taken, at each depth: the cheap and the full rerank."""
_Depth = Annotated[int, Field(ge=10, le=1000)]


class T1Plan(BaseModel):
    """Grids, folds and limits of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(20260901, ge=0, description="of folds, cross-fitting and resampling")
    folds: int = Field(
        10, ge=3, le=20, description="outer folds, fewer for few queries: each is judged by choices made without it"
    )
    divisions: int = Field(
        3, ge=1, le=20, description="into outer folds, at most: of several, for few queries, the median one is judged"
    )
    inner_folds: int = Field(8, ge=3, le=20, description="folds in which reranker and router are cross-fitted")
    cross_fits: int = Field(500, ge=1, description="queries scored in cross-fitting: fewer are divided anew and again")
    bm25: tuple[Bm25Options, ...] = (
        Bm25Options(k1=0.9, b=0.4),
        Bm25Options(k1=1.2, b=0.5),
        Bm25Options(k1=1.2, b=0.75),
        Bm25Options(k1=2.0, b=0.75),
    )
    taus: tuple[float, ...] = tuple(round(0.1 * step, 1) for step in range(11))
    shrinkages: tuple[_Positive, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
    topk: int = Field(100, ge=10, le=1000)
    ef: int | None = Field(
        None, ge=10, le=4096, description="nodes the HNSW search keeps open; default: the fewest that find enough"
    )
    depths: tuple[_Depth, ...] = Field((20, 40), min_length=1, description="candidates that may be reranked")
    budget_ms: float = Field(1.0, gt=0, description="mean milliseconds that reranking may add")
    p95_margin_ms: float = Field(1.0, gt=0, description="how much the p95 of latency may rise")
    requests: int = Field(
        2100, ge=1, le=100_000, description="paired requests that are timed, in whole rounds of queries"
    )

    @property
    def bound_errors(self) -> float:
        """Standard errors below a mean of cross-fitted gains at which its lower bound lies.

        One-sided 95 % over all reranks and depths of which the best is taken (Bonferroni), times what makes up for the
        folds of a cross-fitting sharing what they are taught on: the error of a mean over k of them is too small by the
        root of 1 + k/(k-1) (Nadeau and Bengio 2003).
        """
        normal = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (_RERANKS * len(self.depths)))
        return normal * math.sqrt(1 + self.inner_folds / (self.inner_folds - 1))

    def times_divided(self, queries: int) -> int:
        """How often so many queries are divided, so that nothing hangs on how one division fell."""
        return min(_MOST_TIMES, max(1, round(self.cross_fits / queries)))

    def for_queries(self, queries: int) -> T1Plan:
        """The plan with folds of at least two queries each.

        Raises:
            InsufficientDataError: there are too few to divide.
        """
        fewest = min(self.folds, _FEWEST_FOLDS)
        if queries < 2 * fewest:
            raise InsufficientDataError(
                f"{queries} judged queries cannot be divided into {fewest} folds; judge at least {2 * fewest}",
                field="qrels",
            )
        return self.model_copy(update={"folds": min(self.folds, queries // 2)})
