"""One search from query to ranked passages: legs, fusion, the route that the gate buys, the rerank within its budget.

The result depends on the query, the index and the configuration alone: a budget in milliseconds is turned into a number
of candidates by the measured cost of one, never by looking at a clock while searching.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from acgs.errors import InvalidInputError
from acgs.retrieval.candidates import Candidates, found_by_words, of_both_legs
from acgs.retrieval.configuration import RetrievalConfiguration, Route
from acgs.retrieval.encoders import Encoded, Encoder, require_same
from acgs.retrieval.fusion import combine
from acgs.retrieval.index import Index
from acgs.retrieval.lexical import LexicalQuery
from acgs.retrieval.natural_language import nl_confidence
from acgs.retrieval.query_features import query_features
from acgs.retrieval.rerankers import CHEAP_FEATURES, FULL_FEATURES, cheap_features, standardise
from acgs.retrieval.vectors import NearestSearch, best

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

MAX_QUERY_CHARACTERS: Final = 32_768
FEWEST: Final = 2
"""One candidate has no other order."""


class GainPredictor(Protocol):
    """Says, from features of the first stage, what to spend on a query."""

    def decide(self, features: Floats) -> Plan:
        """The plan for features in the order of `query_features.NAMES`."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What the router says of one query."""

    tau: float
    """Share of the dense leg."""
    spend_ms: float
    """Milliseconds that reranking may take."""
    gain: float
    """Predicted gain of nDCG@10 by the full rerank."""


@dataclass(frozen=True)
class FirstPass:
    """Candidates of a query in ascending order of their numbers, with their scores."""

    text: str
    query: LexicalQuery
    idf: Singles
    """(vocabulary,) of the corpus"""
    encoded: Encoded | None
    candidates: Ints
    lexical: Singles
    dense: Singles
    floor: float
    """Lowest score that the dense leg returned."""
    fused: Singles

    @cached_property
    def features(self) -> Floats:
        """As `query_features.NAMES`; made when a router asks."""
        return query_features(
            self.query, nl_confidence(self.text), self.idf, fused=self.fused, lexical=self.lexical, dense=self.dense
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a search found."""

    numbers: Ints
    """Document numbers, best first."""
    scores: Singles
    """In the same order, never rising."""
    route: Route
    predicted_gain: float | None
    """Of the full rerank over none; None where no router predicts."""
    spent_ms: float
    """Time that reranking took."""
    total_ms: float


class Searcher:
    """Searches one index under one configuration; safe to share between threads."""

    def __init__(
        self,
        index: Index,
        encoder: Encoder,
        configuration: RetrievalConfiguration,
        predictor: GainPredictor | None = None,
    ) -> None:
        """Put the parts together.

        Raises:
            IntegrityError: the encoder is not the one that made the index.
            InvalidInputError: the configuration has a gate and there is no predictor.
        """
        require_same(encoder, index.manifest.encoder_sha256)
        if configuration.gate is not None and predictor is None:
            raise InvalidInputError("a configuration with a gate needs its router", field="gate")
        self.index = index
        self.configuration = configuration
        self.version = configuration.version
        self._encoder = encoder
        self._predictor = predictor
        first = configuration.first_stage
        self._nearest: NearestSearch = index.exact() if first.exact else index.graph(first.ef)
        self._cheap = np.array([configuration.rerankers.cheap[name] for name in CHEAP_FEATURES], dtype=np.float32)
        self._full = np.array([configuration.rerankers.full[name] for name in FULL_FEATURES], dtype=np.float32)

    def search(
        self, query: str, *, topk: int = 10, route: Route | None = None, budget_ms: float | None = None
    ) -> Ranking:
        """Rank at most `topk` documents; a topk beyond the corpus gives all that were found.

        Args:
            route: taken instead of the gate's choice.
            budget_ms: most milliseconds for reranking; 0 searches by words alone.

        Raises:
            InvalidInputError: the query is empty or too long, or topk or budget is out of range.
        """
        if topk < 1:
            raise InvalidInputError("topk must be at least 1", field="topk")
        if budget_ms is not None and not 0 <= budget_ms < math.inf:
            raise InvalidInputError("budget_ms must be a finite number of 0 or more", field="budget_ms")
        started = time.perf_counter()
        if route is None and budget_ms == 0:
            route = Route.LEXICAL
        if route is None and self.configuration.gate is None:
            route = self.configuration.route
        first = self.first_pass(query, lexical_only=route is Route.LEXICAL)
        plan = self._predictor.decide(first.features) if self._predictor is not None and route is None else None
        chosen, fused = self._choose(first, plan, route)
        chosen, depth = self._afforded(chosen, plan, budget_ms)
        if min(depth, len(first.candidates)) < FEWEST and chosen is not Route.LEXICAL:
            chosen = Route.FUSED
        begun = time.perf_counter()
        order, scores = self.rerank(first, fused, chosen, depth)
        ended = time.perf_counter()
        return Ranking(
            numbers=first.candidates[order[:topk]],
            scores=scores[:topk],
            route=chosen,
            predicted_gain=None if plan is None else plan.gain,
            spent_ms=(ended - begun) * 1e3 if chosen in (Route.CHEAP, Route.FULL) else 0.0,
            total_ms=(ended - started) * 1e3,
        )

    def first_pass(self, query: str, *, lexical_only: bool = False) -> FirstPass:
        """Candidates of both legs, or of the words alone, and what they tell of the query.

        Raises:
            InvalidInputError: the query is empty or too long.
        """
        if not query.strip():
            raise InvalidInputError("the query is empty", field="query")
        if len(query) > MAX_QUERY_CHARACTERS:
            raise InvalidInputError(f"the query is longer than {MAX_QUERY_CHARACTERS} characters", field="query")
        options = self.configuration.first_stage
        analysed = self.index.lexical.analyse(query)
        by_words = self.index.lexical.words.scores(analysed.words)
        encoded = None
        if lexical_only:
            numbers = np.sort(found_by_words(by_words, options.topk))
            found = Candidates(numbers, by_words[numbers], np.zeros(len(numbers), dtype=np.float32), 0.0)
        else:
            encoded = self._encoder.encode([query])
            vector = encoded.vectors[0]
            near = self._nearest.nearest(vector, options.topk)
            found = of_both_legs(by_words, near, vector, self.index.vectors, options.topk)
        lexical, dense = found.lexical, found.dense
        fused = combine(lexical, dense, found.floor, 0.0 if lexical_only else options.tau)
        idf = self.index.lexical.idf
        return FirstPass(query, analysed, idf, encoded, found.numbers, lexical, dense, found.floor, fused)

    def rerank(self, first: FirstPass, fused: Singles, route: Route, depth: int) -> tuple[Ints, Singles]:
        """Places of the candidates, best first, and their scores.

        The first `depth` of the fused order are scored anew; the rest follow below them in their order.
        """
        order = best(fused, len(fused))
        # What neither leg gives a score is no answer, whatever its place in the corpus.
        found = order[fused[order] > 0]
        if route in (Route.LEXICAL, Route.FUSED) or min(len(order), depth) < FEWEST:
            return found, fused[found]
        head = order[:depth]
        scores = self.reranked(first, fused, head, route)
        again = best(scores, len(scores))
        tail = found[depth:]
        # Moved below the lowest reranked score, so that scores never rise along the list.
        below = np.float32(scores.min()) - (fused[head[-1]] - fused[tail])
        return np.concatenate([head[again], tail]), np.concatenate([scores[again], below])

    def reranked(self, first: FirstPass, fused: Singles, head: Ints, route: Route) -> Singles:
        """Scores of the places `head` by the route's reranker, shape (len(head),)."""
        features = self.rerank_features(first, fused, head, route)
        scores: Singles = features @ (self._full if route is Route.FULL else self._cheap)
        return scores

    def rerank_features(self, first: FirstPass, fused: Singles, head: Ints, route: Route) -> Singles:
        """Standardised features of the places `head`, shape (len(head), features of the route)."""
        numbers = first.candidates[head]
        cheap = cheap_features(
            self.index.lexical,
            first.query,
            numbers,
            vectors=self.index.vectors[numbers],
            fused=fused[head],
            lexical=first.lexical[head],
            dense=first.dense[head],
        )
        if route is not Route.FULL:
            return standardise(cheap)
        if first.encoded is None:
            raise InvalidInputError("a search by words alone cannot be reranked by late interaction", field="route")
        tokens = self.index.tokens
        asked = tokens.query(first.encoded.states, first.encoded.pieces)
        return standardise(np.concatenate([cheap, tokens.match(asked, numbers)], axis=1))

    def _choose(self, first: FirstPass, plan: Plan | None, route: Route | None) -> tuple[Route, Singles]:
        """The route, and the fused scores under the plan's share of the dense leg."""
        gate = self.configuration.gate
        if route is not None or plan is None or gate is None:
            return route or self.configuration.route, first.fused
        fused = combine(first.lexical, first.dense, first.floor, plan.tau)
        return gate.route(plan.gain), fused

    def _afforded(self, route: Route, plan: Plan | None, budget_ms: float | None) -> tuple[Route, int]:
        """The route and depth that the smaller of router's spend and caller's budget pays for."""
        rerankers = self.configuration.rerankers
        caps = [budget_ms] if budget_ms is not None else []
        if plan is not None and route is Route.FULL:
            caps.append(plan.spend_ms)
        if not caps or route not in (Route.CHEAP, Route.FULL):
            return route, rerankers.depth
        left = min(caps) - rerankers.cheap_ms
        if left < 0:
            return Route.FUSED, 0
        # A spend that was worked out from a whole number of candidates pays for it, whatever its last digit.
        paid = int(min(rerankers.depth, left / rerankers.candidate_ms + 1e-6))
        return (Route.FULL, paid) if route is Route.FULL and paid >= FEWEST else (Route.CHEAP, rerankers.depth)
