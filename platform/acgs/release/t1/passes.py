"""What the first stage gave for every judged query, kept so that hundreds of settings can be tried on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acgs.release.t1.plan import T1Plan
from acgs.retrieval.configuration import FirstStage, RetrievalConfiguration, Route
from acgs.retrieval.encoders import Encoded, Encoder
from acgs.retrieval.fusion import combine
from acgs.retrieval.index import Bm25Options, Index
from acgs.retrieval.lexical import build_leg
from acgs.retrieval.rerankers import FULL_FEATURES, ListwiseExample
from acgs.retrieval.search import FirstPass, Searcher
from acgs.retrieval.vectors import best
from acgs.statistics.evidence import Floats
from acgs.statistics.ranking import discounted_gain

Ints = NDArray[np.int32]
_CUT = 10


class RememberingEncoder:
    """An encoder that encodes a text once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Encoded] = {}
        self.name, self.digest = encoder.name, encoder.digest
        self.width, self.state_width, self.pieces = encoder.width, encoder.state_width, encoder.pieces

    def encode(self, texts: Sequence[str]) -> Encoded:
        """As the encoder does, for one text at a time."""
        if len(texts) != 1:
            return self._encoder.encode(texts)
        if texts[0] not in self._known:
            self._known[texts[0]] = self._encoder.encode(texts)
        return self._known[texts[0]]


@dataclass(frozen=True, slots=True)
class JudgedPass:
    """One judged query: its first pass, grades of the candidates, and the best discounted gain it can have."""

    id: str
    text: str
    first: FirstPass
    grades: Floats
    """(candidates,)"""
    known: Mapping[int, int]
    """Grade by document number, of all judged documents."""
    ideal: float

    def ndcg(self, order: Ints) -> float:
        """nDCG@10 of candidate places, best first."""
        return self._share(self.grades[order[:_CUT]])

    def ndcg_fused(self, tau: float) -> float:
        """nDCG@10 of the first stage alone under another share of the dense leg."""
        fused = self.fused(tau)
        order = best(fused, _CUT)
        return self.ndcg(order[fused[order] > 0])

    def ndcg_of(self, numbers: Ints) -> float:
        """nDCG@10 of document numbers, best first."""
        return self._share([self.known.get(int(number), 0) for number in numbers[:_CUT]])

    def _share(self, grades: ArrayLike) -> float:
        # Two sums of the same terms may differ in the last digit.
        return min(1.0, discounted_gain(grades) / self.ideal) if self.ideal > 0 else 0.0

    def fused(self, tau: float) -> NDArray[np.float32]:
        """Fused scores under another share of the dense leg."""
        return combine(self.first.lexical, self.first.dense, self.first.floor, tau)


def with_bm25(index: Index, contents: Sequence[str], options: Bm25Options) -> Index:
    """The index with another lexical leg, in memory."""
    if options == index.manifest.bm25:
        return index
    return replace(index, lexical=build_leg(contents, options.k1, options.b))


def first_passes(
    searcher: Searcher,
    queries: Mapping[str, str],
    judgements: Mapping[str, Mapping[str, int]],
    numbers: Mapping[str, int],
) -> list[JudgedPass]:
    """First passes of the judged queries in the order of their ids.

    Args:
        numbers: document number by id.
    """
    passes = []
    for query in sorted(judgements):
        grades = {numbers[document]: max(grade, 0) for document, grade in judgements[query].items()}
        first = searcher.first_pass(queries[query])
        passes.append(
            JudgedPass(
                id=query,
                text=queries[query],
                first=first,
                grades=np.array([grades.get(int(number), 0) for number in first.candidates], dtype=np.float64),
                known=grades,
                ideal=discounted_gain(sorted(grades.values(), reverse=True)[:_CUT]),
            )
        )
    return passes


def first_stage(plan: T1Plan, tau: float) -> FirstStage:
    """The first stage of a plan that `open_bench` has completed."""
    assert plan.ef is not None
    return FirstStage(tau=tau, topk=plan.topk, ef=plan.ef)


def searcher_for(index: Index, encoder: Encoder, plan: T1Plan) -> Searcher:
    """A searcher for first passes: both legs, no rerank."""
    first = first_stage(plan, tau=0.5)
    return Searcher(index, encoder, RetrievalConfiguration(first_stage=first, route=Route.FUSED))


def example(searcher: Searcher, judged: JudgedPass, tau: float, depth: int) -> tuple[Ints, ListwiseExample]:
    """The head of the fused order under `tau` with the full reranker's features, shape (depth, features)."""
    fused = judged.fused(tau)
    head = best(fused, depth)
    features = searcher.rerank_features(judged.first, fused, head, Route.FULL)
    if features.shape[1] != len(FULL_FEATURES):
        raise AssertionError("the full reranker's features are all of them")
    return head, ListwiseExample(features, judged.grades[head])
