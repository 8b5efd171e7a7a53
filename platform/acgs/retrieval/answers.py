"""The answer to a search, with the passages' texts."""

from __future__ import annotations

from acgs.retrieval.schema import Hit, SearchAnswer
from acgs.retrieval.search import Ranking, Searcher


def search_answer(searcher: Searcher, ranking: Ranking) -> SearchAnswer:
    """What a ranking says, as it leaves the platform."""
    hits = []
    for rank, (number, score) in enumerate(zip(ranking.numbers, ranking.scores, strict=True), start=1):
        document = searcher.index.documents[int(number)]
        hits.append(Hit(rank=rank, id=document.id, score=float(score), title=document.title, text=document.text))
    return SearchAnswer(
        results=hits,
        route=ranking.route.value,
        predicted_gain=ranking.predicted_gain,
        spent_ms=ranking.spent_ms,
        total_ms=ranking.total_ms,
        configuration=searcher.version,
        index=searcher.index.manifest.digest,
    )
