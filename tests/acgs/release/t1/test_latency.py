"""Which queries are timed."""

from __future__ import annotations

from dataclasses import replace

from acgs.release.t1.latency import queries_to_time
from tests.acgs.release.t1.conftest import QUERIES, Run, made_collection


def test_queries_without_judgements_are_timed_too_as_far_as_there_are_requests() -> None:
    judged = made_collection()
    others = {f"other{number}": f"query {number}" for number in range(300)}
    collection = replace(judged, queries={**others, **judged.queries})
    timed = queries_to_time(collection, requests=200, seed=1)
    assert timed[:QUERIES] == [judged.queries[query] for query in sorted(judged.judgements)]
    assert len(set(timed[QUERIES:])) == 200 - QUERIES
    assert timed == queries_to_time(collection, requests=200, seed=1)
    assert timed != queries_to_time(collection, requests=200, seed=2)
    assert queries_to_time(judged, requests=10, seed=1) == timed[:QUERIES]
    assert len(queries_to_time(collection, requests=5000, seed=1)) == 300 + QUERIES
    alike = replace(collection, queries={**collection.queries, "again": "query 7"})
    assert len(queries_to_time(alike, requests=5000, seed=1)) == 300 + QUERIES


def test_the_rounds_of_a_replay_repeat_its_queries(run: Run) -> None:
    latency = run.found.evidence.latency
    assert latency is not None
    assert latency.requests == QUERIES
    assert len(latency.baseline_ms) == 5 * QUERIES  # the fewest whole rounds of at least 400 requests
