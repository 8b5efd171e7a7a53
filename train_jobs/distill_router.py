"""Distil a router: `python -m train_jobs.distill_router --corpus DIR --index DIR --output DIR`.

From judged queries to `router_distilled_int8.json`: first passes, cross-fitted gains of both rerankers, a monotone
teacher that never saw the query it predicts, and its tables. How faithful the tables are, and what they cost against
the teacher on the same queries, is in the file and is printed. Runs as it stands or through `ray job submit`.
Exit codes: 0 done, 1 the queries are too few or the tables break a promise, 2 refused.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from acgs.cli.output import JSON_OPTION, say, write_error, write_fields, write_json, write_table
from acgs.cli.progress import Progress
from acgs.errors import AcgsError
from acgs.release.t1.confirmation import Choice, Workbench, choose
from acgs.release.t1.latency import RouteCosts, route_costs
from acgs.release.t1.opening import open_bench, require_usable_index
from acgs.release.t1.passes import searcher_for
from acgs.release.t1.plan import T1Plan
from acgs.release.t1.tuning import tables_against_teacher
from acgs.retrieval.corpus import Collection, read_collection
from acgs.retrieval.encoders import MINILM, Encoder, open_encoder
from acgs.retrieval.gate import apply_thresholds
from acgs.retrieval.index import MANIFEST
from acgs.retrieval.router.distillation import Distillation
from acgs.retrieval.router.fidelity import NoRegret, no_regret
from acgs.retrieval.router.outputs import OUTPUTS
from acgs.retrieval.router.router_file import ROUTER_FILE, write_router
from acgs.statistics.evidence import InsufficientDataError

COST_QUERIES: Final = 100
"""Queries on which the routes are timed: their mean is what the gate weighs gains against."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of a judged corpus (BEIR's layout)")
    parser.add_argument("--index", type=Path, required=True, help="its index; built where there is none")
    parser.add_argument("--output", type=Path, required=True, help=f"folder for {ROUTER_FILE}")
    parser.add_argument("--encoder", default=MINILM, help="'minilm', or a folder with an encoder")
    parser.add_argument("--seed", type=int, help="of folds and trees; default: the plan's")
    parser.add_argument("--check", action="store_true", help="look at everything that can be refused, and stop")
    parser.add_argument(JSON_OPTION, action="store_true", dest="as_json", help="write JSON for machines")
    return parser.parse_args(arguments)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A distillation that may start."""

    collection: Collection
    encoder: Encoder
    plan: T1Plan
    index: Path


@dataclass(frozen=True, slots=True)
class Distilled:
    """The router with what it was made for."""

    choice: Choice
    distillation: Distillation
    same_route: float
    """Share of the queries that the tables and the teacher send the same way."""
    regret: NoRegret


def prepare(options: argparse.Namespace) -> Prepared:
    """Look at everything that can be refused; nothing is written.

    Raises:
        AcgsError: naming what is in the way.
    """
    collection = read_collection(options.corpus)
    encoder = open_encoder(options.encoder)
    plan = T1Plan() if options.seed is None else T1Plan(seed=options.seed)
    if (options.index / MANIFEST).exists():
        require_usable_index(options.index, collection, encoder)
    return Prepared(collection, encoder, plan, options.index)


def distil(prepared: Prepared) -> Distilled:
    """Choose T0, learn the rerankers, and distil the router on all judged queries.

    Raises:
        InsufficientDataError: they are too few.
    """
    collection, encoder, plan = prepared.collection, prepared.encoder, prepared.plan
    if len(collection.judgements) < 2 * plan.folds:
        raise InsufficientDataError(
            f"{len(collection.judgements)} judged queries are too few to learn from; judge more", field="qrels"
        )
    with Progress("documents indexed", len(collection.documents)) as progress:
        bench = open_bench(collection, encoder, plan, prepared.index, say=lambda _step: None, advance=progress.advance)
    queries = np.arange(len(collection.judgements))
    choice = choose(bench, queries, _costs(bench, encoder))
    distillation, gate = choice.routed.distillation, choice.routed.gate
    if distillation is None or gate is None:
        raise InsufficientDataError(choice.routed.reason, field="qrels")
    passes = bench.judged(choice.baseline)
    tables = distillation.router().predict([judged.first.features for judged in passes]).gain
    routes = [apply_thresholds(gain, gate.theta_star, gate.delta) for gain in (tables, distillation.teacher["gain"])]
    deltas = tables_against_teacher(choice.learned, choice.routed)
    same = float((routes[0] == routes[1]).mean())
    return Distilled(choice, distillation, same, no_regret(deltas, seed=plan.seed))


def _costs(bench: Workbench, encoder: Encoder) -> dict[int, RouteCosts]:
    """What the routes cost on some of the queries."""
    plan = bench.plan
    passes = bench.passes[plan.bm25[0]]
    chosen = np.random.default_rng(plan.seed).permutation(len(passes))[:COST_QUERIES]
    searcher = searcher_for(bench.indexes[plan.bm25[0]], encoder, plan)
    texts = [passes[int(row)].text for row in chosen]
    return route_costs(searcher, texts, plan.p95_margin_ms, depths=plan.depths)


def facts_of(found: Distilled, path: Path) -> dict[str, Any]:
    """The answer for machines."""
    distilled = found.distillation
    return {
        "router": str(path),
        "version": found.choice.configuration.version,
        "queries": distilled.queries,
        "training_data_digest": distilled.data_digest,
        "baseline": {"bm25": found.choice.baseline.bm25.model_dump(), "tau": found.choice.baseline.tau},
        "fidelity": {output: asdict(distilled.fidelity[output]) for output in OUTPUTS},
        "same_route": found.same_route,
        "no_regret": asdict(found.regret),
    }


def show(facts: dict[str, Any]) -> None:
    """The answer for people."""
    measures = {"R2 as shipped": "r2", "R2 held out": "held_out_r2", "rank agreement held out": "rank_agreement"}
    rows = [(name, *(_figure(of[key]) for key in measures.values())) for name, of in facts["fidelity"].items()]
    write_table("tables against teacher", ("output", *measures), rows)
    regret = facts["no_regret"]
    fields: dict[str, object] = {
        "queries": f"{regret['n']}, {facts['same_route']:.0%} sent the same way",
        "queries with another nDCG@10": regret["differing"],
        "nDCG@10 of the tables' decisions less the teacher's": f"at least {regret['lower']:+.4f} ({regret['method']})",
        f"loses at most {regret['margin']:g}": "shown" if regret["holds"] else "not shown by so many queries",
    }
    write_fields("no regret", fields)
    say(facts["router"])


def _figure(value: float | None) -> str:
    return "the same for all" if value is None else f"{value:.3f}"


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        prepared = prepare(options)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 2
    if options.check:
        queries = len(prepared.collection.judgements)
        if options.as_json:
            write_json({"queries": queries, "documents": len(prepared.collection.documents)})
        else:
            say(f"the distillation can start: {queries} judged queries")
        return 0
    try:
        found = distil(prepared)
        path = options.output / ROUTER_FILE
        version = found.choice.configuration.version
        write_router(path, found.distillation, version=version, at=datetime.now(UTC), no_regret=found.regret)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 1
    facts = facts_of(found, path)
    if options.as_json:
        write_json(facts)
    else:
        show(facts)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
