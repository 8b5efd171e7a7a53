"""Find the ANN setting of least latency at no loss: `python -m tune_sweeps.ann_harvest --config FILE --output DIR`.

Each trial builds or takes a graph and answers the queries beside the baseline setting: recall@10 and Jaccard@10 against
exact search, nDCG@10 where queries are judged, times cold and warm. A setting whose recall can no longer be enough is
stopped after its first queries. Started again with the same output, a killed harvest goes on where it was.
Exit codes: 0 done, 1 interrupted, or the baseline could not be measured, 2 refused before anything was computed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from acgs.cli.output import say, write_error, write_json
from acgs.cli.progress import Progress
from acgs.errors import AcgsError, InvalidInputError
from acgs.release.t1.artifacts import HARVEST_FILE, write_model
from acgs.retrieval.corpus import (
    JUDGEMENT_FILES,
    Document,
    corpus_digest,
    read_documents,
    read_judgements,
    read_queries,
)
from acgs.retrieval.encoders import Encoder, open_encoder, require_same
from acgs.retrieval.index import build_index, open_index
from tune_sweeps.ann_harvest_config import HarvestConfig, HarvestRow, HarvestTrial, grid
from tune_sweeps.ann_harvest_report import harvested, show
from tune_sweeps.retrieval_work import (
    FAILED,
    INDEX,
    latest,
    load_sweep,
    parse_arguments,
    run_trials,
    waiting,
)
from tune_sweeps.sweep_folder import Journal, claim, settings_digest, sweep_name


@dataclass(frozen=True, slots=True)
class Prepared:
    """A harvest that may start."""

    config: HarvestConfig
    name: str
    digest: str
    trials: list[HarvestTrial]
    encoder: Encoder
    documents: list[Document] | None
    """None where an index is searched without its corpus."""
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]
    output: Path


def prepare(config_path: Path, output: Path) -> Prepared:
    """Look at everything that can be refused; nothing is written.

    Raises:
        AcgsError: naming what is in the way.
    """
    config, output = load_sweep(config_path, HarvestConfig), output.resolve()
    documents = None if config.corpus is None else read_documents(config.corpus)
    place = config.queries or config.corpus
    assert place is not None
    queries = read_queries(place)
    judged = place.is_dir() and any((place / name).is_file() for name in JUDGEMENT_FILES)
    judgements = read_judgements(place) if judged else {}
    unknown = next((query for query in judgements if query not in queries), None)
    if unknown is not None:
        raise InvalidInputError(f"qrels judge query {unknown}, which the queries do not hold", field="qrels")
    encoder = open_encoder(config.encoder)
    if config.index is not None:
        _check_index(config.index, encoder, documents)
    if documents is not None:
        _check_judged(judgements, {document.id for document in documents})
    corpus = "" if documents is None else corpus_digest(documents)
    digest = settings_digest(config.model_dump_json(), encoder.digest, corpus, *queries.values(), repr(judgements))
    return Prepared(
        config=config,
        name=sweep_name(output, config.name, digest),
        digest=digest,
        trials=grid(config),
        encoder=encoder,
        documents=documents,
        queries=queries,
        judgements=judgements,
        output=output,
    )


def _check_index(folder: Path, encoder: Encoder, documents: list[Document] | None) -> None:
    manifest = open_index(folder).manifest
    require_same(encoder, manifest.encoder_sha256)
    if documents is not None and corpus_digest(documents) != manifest.corpus_sha256:
        raise InvalidInputError("the index was not made of this corpus's documents", field="index")


def _check_judged(judgements: Mapping[str, Mapping[str, int]], known: set[str]) -> None:
    for query, grades in judgements.items():
        unknown = next((document for document in grades if document not in known), None)
        if unknown is not None:
            raise InvalidInputError(
                f"qrels judge document {unknown} for query {query}, which the documents do not hold", field="qrels"
            )


def sweep(prepared: Prepared) -> list[HarvestRow]:
    """Run the trials that have not ended; returns the rows of all, by number."""
    journal = Journal(prepared.output, HarvestRow)
    left = waiting(prepared.trials, journal.rows())
    if left:
        _run(prepared, left, journal)
    rows = latest(journal.rows())
    return [rows[number] for number in sorted(rows)]


def _run(prepared: Prepared, trials: list[HarvestTrial], journal: Journal[HarvestRow]) -> None:
    from ray import tune

    from tune_sweeps.ann_harvest_trial import HarvestRun, HarvestWork

    config, texts = prepared.config, list(prepared.queries.values())
    folder = config.index
    if folder is None:
        folder = prepared.output / INDEX
        assert prepared.documents is not None
        with Progress("documents indexed", len(prepared.documents)) as progress:
            build_index(prepared.documents, prepared.encoder, folder, advance=progress.advance)
    index = open_index(folder)
    if prepared.judgements:
        documents = index.documents
        _check_judged(prepared.judgements, {documents[number].id for number in range(len(documents))})
    work = HarvestWork(
        config=config,
        index=folder.resolve(),
        output=prepared.output,
        texts=texts,
        vectors=prepared.encoder.encode(texts).vectors,
        grades=[prepared.judgements.get(query, {}) for query in prepared.queries],
    )
    run_trials(tune.with_parameters(HarvestRun, work=work), trials, config, journal, _row)


def _row(trial: dict[str, Any], result: dict[str, Any], failure: str | None) -> HarvestRow:
    if failure is None:
        return HarvestRow.model_validate(result["row"])
    return HarvestRow(trial=HarvestTrial.model_validate(trial), ending=FAILED + failure, queries=0, recall_at_10=None)


def main(arguments: list[str] | None = None) -> int:
    """Run the harvest; returns the exit code."""
    options = parse_arguments(__doc__, arguments)
    try:
        prepared = prepare(options.config, options.output)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 2
    if options.check:
        state = {"sweep": prepared.config.name, "trials": len(prepared.trials), "queries": len(prepared.queries)}
        if options.as_json:
            write_json(state)
        else:
            say(f"{prepared.config.name} can start: {state['trials']} settings over {state['queries']} queries")
        return 0
    claim(prepared.output, prepared.name, prepared.digest)
    try:
        rows = sweep(prepared)
        document = harvested(prepared.output, prepared.config, rows, version=prepared.name, at=datetime.now(UTC))
        write_model(prepared.output / HARVEST_FILE, document)
    except AcgsError as error:
        write_error(error.code, error.message, field=error.field, as_json=options.as_json)
        return 1
    if options.as_json:
        write_json(orjson.loads(document.model_dump_json()))
    else:
        show(document, rows)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
