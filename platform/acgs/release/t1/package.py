"""All parts of T1 in one run: index, choices, confirmation, harvest, audits, contract.

Everything that decides is chosen on some queries and judged on others (`confirmation`); what ships is then chosen in
the same way on all of them. A part that the corpus is too small for is reported as such and never passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from acgs.causal.report import AuditReport
from acgs.release.contract import t1_contract
from acgs.release.evidence import (
    EffectAudit,
    Evidence,
    LatencyPairs,
    Overlap,
    QualityPairs,
    Split,
    System,
    TreatedTraffic,
)
from acgs.release.report import ContractReport
from acgs.release.t1.confirmation import Choice, Confirmed, Division, Workbench, choose, confirm
from acgs.release.t1.experiment import audited
from acgs.release.t1.latency import Replayed, RouteCosts, queries_to_time, replay, route_costs
from acgs.release.t1.opening import Step, open_bench
from acgs.release.t1.passes import searcher_for
from acgs.release.t1.plan import T1Plan
from acgs.release.t1.promises import coverage, forecasts
from acgs.release.t1.sweep import Swept, sweep
from acgs.release.t1.tuning import tables_against_teacher
from acgs.retrieval.configuration import Route
from acgs.retrieval.corpus import Collection
from acgs.retrieval.encoders import Encoder
from acgs.retrieval.router.fidelity import NoRegret, no_regret
from acgs.retrieval.slices import GLOBAL, HARD_NL, slice_queries
from acgs.statistics.ranking import jaccard

INDEX_FOLDER: Final = "index"
NOTHING_EARLIER: Final = {"calibration drift": "a package has no earlier release whose forecasts it could compare with"}


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run chose and measured."""

    collection: Collection
    plan: T1Plan
    at: datetime
    bench: Workbench
    costs: Mapping[int, RouteCosts]
    """By depth."""
    final: Choice
    division: Division
    divisions: int
    """Of so many divisions into folds it is the one with the median change."""
    regret: NoRegret | None
    """Of deciding by the router's tables instead of its teacher; None without a router."""
    slices: Mapping[str, tuple[str, ...]]
    replayed: Replayed
    swept: Swept
    audits: Sequence[AuditReport]
    coverage_rows: Sequence[Mapping[str, Any]]
    evidence: Evidence
    contract: ContractReport

    @property
    def confirmed(self) -> Sequence[Confirmed]:
        """The answers, by query id."""
        return self.division.confirmed

    @property
    def choices(self) -> Sequence[Choice]:
        """By fold."""
        return self.division.choices

    @property
    def reranks(self) -> bool:
        """Whether any fold's candidate, or the shipped one, is another system than its baseline."""
        return any(choice.reranks for choice in (self.final, *self.choices))


def find(
    collection: Collection,
    encoder: Encoder,
    plan: T1Plan,
    work: Path,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    say: Step = lambda _step: None,
    advance: Callable[[int], None] = lambda _count: None,
) -> Findings:
    """Run all parts.

    Args:
        work: folder of the index and its graphs; taken up again by the next run.
        clock: says when the contract was judged, with its time zone; it stands in the artifacts and changes no result.
        advance: called with the number of documents indexed.

    Raises:
        InvalidInputError, IntegrityError: the corpus or the folder cannot be used.
        InsufficientDataError: there are too few judged queries to divide into folds.
    """
    plan = plan.for_queries(len(collection.judgements))
    queries = {query: collection.queries[query] for query in sorted(collection.judgements)}
    texts = list(queries.values())
    slices = slice_queries(queries)
    bench = open_bench(collection, encoder, plan, work / INDEX_FOLDER, say=say, advance=advance)
    plan = bench.plan
    say("what each route costs")
    costs = route_costs(
        searcher_for(bench.indexes[plan.bm25[0]], encoder, plan), texts, plan.p95_margin_ms, depths=plan.depths
    )
    times = min(plan.divisions, plan.times_divided(len(queries)))
    division = _median([confirm(bench, costs, seed=plan.seed + number, say=say) for number in range(times)])
    confirmed = division.confirmed
    say("choices on all queries, paired replay")
    final = choose(bench, np.arange(len(queries)), costs)
    sides = bench.sides(final, encoder)
    timed = queries_to_time(collection, requests=plan.requests, seed=plan.seed)
    rounds = ceil(plan.requests / len(timed))
    replayed = replay(sides.baseline, sides.candidate, timed, rounds=rounds, seed=plan.seed)
    say("ANN settings")
    swept = sweep(bench, final, work / "graphs")
    say("audits and contract")
    audits = audited(confirmed, queries, slices[HARD_NL], plan.seed)
    promised, coverage_rows = coverage(confirmed, slices, plan.seed)
    evidence = Evidence(
        baseline=_system("T0", bench, final, sides.baseline.version, ""),
        candidate=_system("T1", bench, final, sides.candidate.version, _router_digest(final)),
        split=Split(
            name=f"{plan.folds} folds, confirmed out of fold" + (f", median of {times} divisions" if times > 1 else ""),
            digest=_digest([str(plan.seed), *queries]),
        ),
        seed=plan.seed,
        quality=QualityPairs(
            queries=tuple(item.query for item in confirmed),
            baseline=np.array([item.baseline_ndcg for item in confirmed]),
            candidate=np.array([item.candidate_ndcg for item in confirmed]),
            slices={name: members for name, members in slices.items() if name != GLOBAL},
        ),
        latency=LatencyPairs(
            baseline_ms=replayed.baseline_ms,
            candidate_ms=replayed.candidate_ms,
            repeats=tuple(range(len(timed))) * rounds,
        ),
        overlap=Overlap(jaccard=swept.served.overlaps),
        treated=_treated(confirmed),
        forecasts=forecasts(confirmed, collection.judgements, [item.id for item in collection.documents]),
        coverage=tuple(promised),
        effect=_effect(audits),
    )
    at = clock()
    return Findings(
        collection=collection,
        plan=plan,
        at=at,
        bench=bench,
        costs=costs,
        final=final,
        division=division,
        divisions=times,
        regret=None
        if final.routed.distillation is None
        else no_regret(tables_against_teacher(final.learned, final.routed)),
        slices=slices,
        replayed=replayed,
        swept=swept,
        audits=audits,
        coverage_rows=coverage_rows,
        evidence=evidence,
        contract=t1_contract(waived=NOTHING_EARLIER).judge(evidence, at=at),
    )


def _median(divisions: Sequence[Division]) -> Division:
    """The division of median mean change; of two in the middle the lower.

    Not the mean over them: it would be surer than its error says, which knows nothing of what the divisions share.
    """
    return sorted(divisions, key=lambda each: each.change)[(len(divisions) - 1) // 2]


def _system(name: str, bench: Workbench, final: Choice, version: str, router: str) -> System:
    """A side by everything that decides its answers: index, BM25 options, configuration, router."""
    index = bench.indexes[final.baseline.bm25].manifest.digest
    return System(
        name=name, version=version, digest=_digest([index, final.baseline.bm25.model_dump_json(), version, router])
    )


def _router_digest(final: Choice) -> str:
    return "" if final.routed.distillation is None else final.routed.distillation.data_digest


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(orjson.dumps(list(parts))).hexdigest()


def _treated(confirmed: Sequence[Confirmed]) -> TreatedTraffic:
    """Queries that the candidate reranked, and how much of the first ten stayed."""
    changed = [item for item in confirmed if item.candidate.route in (Route.CHEAP, Route.FULL)]
    overlaps = [
        jaccard([str(n) for n in item.baseline.numbers], [str(n) for n in item.candidate.numbers]) for item in changed
    ]
    return TreatedTraffic(requests=len(confirmed), jaccard=np.array(overlaps))


def _effect(audits: Sequence[AuditReport]) -> EffectAudit | None:
    """The verdict on the randomised replay as a whole."""
    if not audits:
        return None
    whole = audits[0]
    return EffectAudit(
        verdict=whole.verdict.value, reasons=whole.reasons, n=whole.n, method="randomised replay, cross-fitted DR"
    )
