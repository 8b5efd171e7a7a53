"""Find which queries are worth a rerank: `python -m tune_sweeps.gating --config FILE --output DIR`.

Trials vary the depth of reranking, the shrinkage of its weights, and what the gate is told of budget and lateness. Each
is judged fold by fold on queries that its choices have not seen; ASHA (Li et al. 2020, arXiv:1810.05934) stops those
that fall behind. The best is judged once more on queries that no trial has seen. Started again with the same output, a
killed sweep goes on where it was.
Exit codes: 0 the gate is confirmed, 1 it is not, or there are too few queries, 2 refused at the start.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from acgs.cli.output import say, write_error, write_fields, write_json
from acgs.cli.progress import Progress
from acgs.errors import AcgsError, UnavailableError
from acgs.learning.finetune.sweep import STOPPED_EARLY
from acgs.release.t1.confirmation import Workbench
from acgs.release.t1.opening import open_bench, require_usable_index
from acgs.release.t1.tuning import fold_numbers
from acgs.retrieval.corpus import Collection, corpus_digest, read_collection
from acgs.retrieval.encoders import Encoder, open_encoder
from acgs.retrieval.router.distillation import FEWEST_QUERIES
from acgs.statistics.evidence import Verdict
from tune_sweeps.gating_config import FoldFigures, GatingConfig, GatingRow, GatingTrial, best_of, draw, score
from tune_sweeps.gating_confirmation import (
    CONFIRMATION_FILE,
    Confirmation,
    confirm,
    too_few,
    write_confirmation,
)
from tune_sweeps.gating_work import GatingWork, RouteTimes, Rows, read_times, time_routes, write_times
from tune_sweeps.retrieval_work import (
    BEGUN,
    FAILED,
    INDEX,
    latest,
    load_sweep,
    parse_arguments,
    run_trials,
    tell,
    waiting,
)
from tune_sweeps.sweep_folder import Journal, claim, settings_digest, sweep_name

TIMES_FILE = "route_times.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sweep that may start."""

    config: GatingConfig
    name: str
    digest: str
    trials: list[GatingTrial]
    collection: Collection
    encoder: Encoder
    training: Rows
    """Rows of the judged queries, in the order of their ids."""
    held_out: Rows
    output: Path

    @property
    def too_few(self) -> str:
        """Why no gate can come of so few queries; empty where it can."""
        folds = fold_numbers(len(self.training), self.config.plan.folds, self.config.seed)
        least = min(int((folds != fold).sum()) for fold in range(self.config.plan.folds))
        if least >= FEWEST_QUERIES:
            return ""
        judged = len(self.collection.judgements)
        return f"{judged} judged queries leave {least} to choose a gate on, {FEWEST_QUERIES} are needed; judge more"


def prepare(config_path: Path, output: Path) -> Prepared:
    """Look at everything that can be refused; nothing is written.

    Raises:
        AcgsError: naming what is in the way.
    """
    config, output = load_sweep(config_path, GatingConfig), output.resolve()
    collection = read_collection(config.corpus)
    encoder = open_encoder(config.encoder)
    if config.index is not None:
        require_usable_index(config.index, collection, encoder)
    queries = sorted(collection.judgements)
    held = max(1, round(config.held_out * len(queries)))
    order = np.random.default_rng(config.seed).permutation(len(queries))
    documents = corpus_digest(collection.documents)
    asked = repr([(query, collection.queries[query], collection.judgements[query]) for query in queries])
    digest = settings_digest(config.model_dump_json(), encoder.digest, documents, asked)
    return Prepared(
        config=config,
        name=sweep_name(output, config.name, digest),
        digest=digest,
        trials=draw(config),
        collection=collection,
        encoder=encoder,
        training=np.sort(order[held:]),
        held_out=np.sort(order[:held]),
        output=output,
    )


def find(prepared: Prepared, *, at: datetime) -> Confirmation:
    """Run the trials that have not ended, and confirm the best.

    Raises:
        UnavailableError: no trial came to its end within the limits, or the sweep was interrupted.
    """
    if prepared.too_few:
        return too_few(prepared.name, prepared.too_few)
    bench = _bench(prepared)
    prepared = replace(prepared, config=prepared.config.model_copy(update={"plan": bench.plan}))
    config, output = prepared.config, prepared.output
    times = _times(prepared, bench)
    journal = Journal(output, GatingRow)
    left = waiting(prepared.trials, journal.rows())
    if left:
        _run(prepared, bench, times, left, journal)
    best = best_of(list(latest(journal.rows()).values()), config.plan.folds)
    if best is None:
        raise UnavailableError(f"no trial came to its end within the limits; {journal.path} says why")
    return confirm(
        bench,
        config,
        best,
        times[best.trial.depth],
        training=prepared.training,
        held_out=prepared.held_out,
        version=prepared.name,
        at=at,
        output=output,
    )


def _bench(prepared: Prepared) -> Workbench:
    with Progress("documents indexed", len(prepared.collection.documents)) as progress:
        return open_bench(
            prepared.collection,
            prepared.encoder,
            prepared.config.plan,
            prepared.config.index or prepared.output / INDEX,
            say=tell,
            advance=progress.advance,
        )


def _times(prepared: Prepared, bench: Workbench) -> dict[int, RouteTimes]:
    """Times of the routes by depth, on some training queries; those of an earlier start hold."""
    path = prepared.output / TIMES_FILE
    if path.exists():
        return read_times(path)
    config = prepared.config
    index = bench.indexes[config.plan.bm25[0]]
    passes = bench.passes[config.plan.bm25[0]]
    chosen = np.random.default_rng(config.seed).permutation(prepared.training)[: config.cost_queries]
    texts = [passes[int(row)].text for row in chosen]
    depths = sorted({trial.depth for trial in prepared.trials})
    tell("what each route costs")
    times = {depth: time_routes(index, prepared.encoder, config.plan, depth, texts) for depth in depths}
    write_times(path, times)
    return times


def _run(
    prepared: Prepared,
    bench: Workbench,
    times: dict[int, RouteTimes],
    trials: list[GatingTrial],
    journal: Journal[GatingRow],
) -> None:
    from ray import tune

    from tune_sweeps.gating_trial import GatingRun

    config = prepared.config
    work = GatingWork(
        config=config,
        index=bench.indexes[config.plan.bm25[0]].folder.resolve(),
        legs={options: index.lexical for options, index in bench.indexes.items()},
        passes=bench.passes,
        training=prepared.training,
        folds=fold_numbers(len(prepared.training), config.plan.folds, config.seed),
        times=times,
    )
    scheduler = taught_scheduler(config, journal.rows(), times)
    run_trials(tune.with_parameters(GatingRun, work=work), trials, config, journal, _row, scheduler=scheduler)


@dataclass(frozen=True, slots=True)
class EndedTrial:
    """What a scheduler asks of a trial that ended before this start."""

    trial_id: str


def taught_scheduler(config: GatingConfig, rows: Sequence[GatingRow], times: dict[int, RouteTimes]) -> Any:
    """ASHA that knows what the trials of earlier starts reported, so that new ones are held against them."""
    from ray.tune.schedulers import ASHAScheduler

    scheduler = ASHAScheduler(
        time_attr="fold",
        metric="score",
        mode="max",
        max_t=config.plan.folds,
        grace_period=config.grace_folds,
        reduction_factor=config.reduction_factor,
    )
    controller: Any = None
    for row in rows:
        ended: Any = EndedTrial(f"ended-{row.trial.number}")
        scheduler.on_trial_add(controller, ended)
        late = float(times[row.trial.depth].under(config.limits.p95_margin_ms).late[0])
        for folds in range(1, len(row.folds) + 1):
            reported = {"fold": folds, "score": score(row.folds[:folds], config.limits, late)}
            scheduler.on_trial_result(controller, ended, reported)
    return scheduler


def _row(trial: dict[str, Any], result: dict[str, Any], failure: str | None) -> GatingRow:
    if failure is not None:
        return GatingRow(trial=GatingTrial.model_validate(trial), ending=FAILED + failure)
    row = GatingRow.model_validate(result["row"])
    # Tune stops a trial between two folds, so its last word was that it had begun.
    return row if row.ending != BEGUN else row.model_copy(update={"ending": STOPPED_EARLY})


def show(found: Confirmation, output: Path) -> None:
    """The answer for people."""
    fields: dict[str, object] = {"verdict": f"{found.verdict}: {found.reason}"}
    if found.trial is not None and found.held_out is not None and found.guard is not None:
        fields |= {"chosen": str(found.trial), "on held-out queries": _said(found.held_out)}
        fields |= {
            "lower bound of the gain": "none" if found.guard.bound is None else f"{found.guard.bound:+.4f}",
            "gain of always reranking": f"{found.gain_always:+.4f}",
            "gain of knowing the outcome": f"{found.gain_oracle:+.4f}",
        }
    write_fields(f"gating sweep {found.version}", fields)
    say(f"{output / CONFIRMATION_FILE}")


def _said(seen: FoldFigures) -> str:
    return (
        f"n {seen.queries}, gain {seen.gain:+.4f}, {seen.fired:.0%} reranked, {seen.cost_ms:.2f} ms on average, "
        f"{seen.late:.1%} late"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the sweep; returns the exit code."""
    options = parse_arguments(__doc__, arguments)
    try:
        prepared = prepare(options.config, options.output)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 2
    if options.check:
        state = {"trials": len(prepared.trials), "training": len(prepared.training), "held_out": len(prepared.held_out)}
        if options.as_json:
            write_json({**state, "too_few": prepared.too_few})
        else:
            said = f"{state['trials']} trials on {state['training']} queries, {state['held_out']} kept to confirm"
            say(prepared.too_few or f"{prepared.config.name} can start: {said}")
        return 0
    try:
        claim(prepared.output, prepared.name, prepared.digest)
        found = find(prepared, at=datetime.now(UTC))
        write_confirmation(prepared.output, found)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 1
    if options.as_json:
        write_json(orjson.loads(found.model_dump_json()))
    else:
        show(found, prepared.output)
    return 0 if found.verdict is Verdict.PASS else 1


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
