"""`acgs retrieval`: index a corpus, search it, measure the ranking."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from acgs.cli.output import JSON_OPTION, say, write_fields, write_json, write_table
from acgs.cli.progress import Progress
from acgs.errors import InvalidInputError

app = typer.Typer(no_args_is_help=True, help="Index, search and evaluate a corpus of documents.")


class RouteName(StrEnum):
    """Routes, as typed at a terminal."""

    LEXICAL = "lexical"
    FUSED = "fused"
    CHEAP = "cheap"
    FULL = "full"


Corpus = Annotated[Path, typer.Argument(help="Folder with docs.jsonl, queries.jsonl and qrels.tsv (BEIR's layout).")]
IndexFolder = Annotated[Path, typer.Option("--index", help="Folder of the index.")]
ConfigurationFile = Annotated[
    Path | None, typer.Option("--config", help="Retrieval configuration (JSON); default: the shipped one.")
]
RouterFile = Annotated[
    Path | None, typer.Option("--router", help="router_distilled_int8.json, where the configuration has a gate.")
]
EncoderName = Annotated[
    str, typer.Option("--encoder", help="'minilm', or a folder: sentence-transformers or static embeddings.")
]
Route = Annotated[RouteName | None, typer.Option("--route", help="Take this route for every query.")]
AsJson = Annotated[bool, typer.Option(JSON_OPTION, help="Write one JSON document.")]


@app.command("import")
def import_collection(
    kind: Annotated[str, typer.Argument(help="vaswani, cosqa or eu-ai-act.")],
    source: Annotated[Path, typer.Argument(help="Folder with the collection's own files.")],
    output: Annotated[Path, typer.Argument(help="Folder to write docs.jsonl, queries.jsonl and qrels.tsv to.")],
) -> None:
    """Bring a public judged collection into BEIR's layout.

    Example: `acgs retrieval import vaswani ./vaswani_npl ./vaswani`
    """
    from acgs.retrieval.corpus import write_collection
    from acgs.retrieval.public_collections import READERS

    if kind not in READERS:
        raise InvalidInputError(f"'{kind}' is not known; give one of {', '.join(READERS)}", field="kind")
    collection = READERS[kind](source)
    write_collection(collection, output)
    say(f"{len(collection.documents)} documents and {len(collection.judgements)} judged queries in {output}")


@app.command("distil-encoder")
def distil_encoder(
    output: Annotated[Path, typer.Argument(help="Folder for the static embeddings.")],
    encoder: EncoderName = "minilm",
    width: Annotated[int, typer.Option(help="Dimensions kept.", min=8, max=4096)] = 256,
) -> None:
    """Distil static embeddings from a transformer: an encoder without torch, some microseconds a query.

    Example: `acgs retrieval distil-encoder ./static && acgs retrieval index ./docs --index ./index --encoder ./static`
    """
    from acgs.retrieval.encoders import distil_static

    distil_static(encoder, output, width=width)
    say(f"static embeddings of {width} dimensions in {output}")


@app.command()
def index(
    corpus: Annotated[Path, typer.Argument(help="docs.jsonl, or the folder that holds it.")],
    output: IndexFolder,
    *,
    encoder: EncoderName = "minilm",
    k1: Annotated[float, typer.Option(help="BM25: how fast a term's repetitions saturate.")] = 1.2,
    b: Annotated[float, typer.Option(help="BM25: how much a document's length counts, 0 to 1.")] = 0.75,
    as_json: AsJson = False,
) -> None:
    """Build an index: words, vectors with their HNSW graph, token states.

    Interrupted, it goes on where it was when it is started again. Searching checks every file against its digest.

    Example: `acgs retrieval index ./corpus --index ./corpus-index`
    """
    from pydantic import ValidationError

    from acgs.retrieval.corpus import read_documents
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import Bm25Options, build_index

    documents = read_documents(corpus)
    try:
        bm25 = Bm25Options(k1=k1, b=b)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise InvalidInputError(f"--{field}: {error.errors()[0]['msg']}", field=field) from None
    with Progress("documents encoded", len(documents)) as progress:
        manifest = build_index(documents, open_encoder(encoder), output, bm25=bm25, advance=progress.advance)
    if as_json:
        write_json({**manifest.model_dump(mode="json"), "digest": manifest.digest})
    else:
        write_fields(
            f"index {output}",
            {
                "documents": manifest.documents,
                "tokens": manifest.tokens,
                "encoder": manifest.encoder,
                "digest": manifest.digest,
            },
        )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    folder: IndexFolder,
    *,
    topk: Annotated[
        int, typer.Option(help="How many passages, of the candidates that the configuration allows.", min=1)
    ] = 10,
    config: ConfigurationFile = None,
    router: RouterFile = None,
    encoder: EncoderName = "minilm",
    route: Route = None,
    budget_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds for reranking; 0 searches by words alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search an index.

    Example: `acgs retrieval search "who supervises high-risk systems" --index ./corpus-index`
    """
    from acgs.retrieval.answers import search_answer
    from acgs.retrieval.opening import open_searcher

    searcher = open_searcher(folder, encoder=encoder, configuration=config, router=router)
    ranking = searcher.search(query, topk=topk, route=_route(route), budget_ms=budget_ms)
    answer = search_answer(searcher, ranking)
    if as_json:
        write_json(answer.model_dump(mode="json"))
        return
    rows = [(hit.rank, f"{hit.score:.3f}", hit.id, (hit.title or hit.text)[:90]) for hit in answer.results]
    write_table(f"{answer.route}, configuration {answer.configuration}", ("rank", "score", "document", "text"), rows)


@app.command()
def evaluate(
    corpus: Corpus,
    folder: IndexFolder,
    *,
    config: ConfigurationFile = None,
    router: RouterFile = None,
    encoder: EncoderName = "minilm",
    route: Route = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure nDCG@10, MRR@10, recall@100 and latency on judged queries, by slice, with 95 % intervals.

    Example: `acgs retrieval evaluate ./corpus --index ./corpus-index --json`
    """
    from acgs.retrieval.corpus import read_collection
    from acgs.retrieval.evaluation import METRICS, evaluate_searcher
    from acgs.retrieval.opening import open_searcher

    collection = read_collection(corpus)
    searcher = open_searcher(folder, encoder=encoder, configuration=config, router=router)
    with Progress("queries searched", len(collection.queries)) as progress:
        found = evaluate_searcher(searcher, collection, route=_route(route), seed=seed, advance=progress.advance)
    if as_json:
        write_json({**asdict(found), "index": searcher.index.manifest.digest, "seed": seed})
        return
    rows = [
        (item.name, item.queries, *(_figure(item.metrics[name], item.intervals[name]) for name in METRICS))
        for item in found.slices
    ]
    write_table(f"quality, configuration {found.configuration}", ("slice", "queries", *METRICS), rows)
    if any(interval is None for item in found.slices for interval in item.intervals.values()):
        say("(-): the queries are too few for an interval, or all alike")
    latency = ", ".join(f"{name} {value:.2f}" for name, value in found.latency_ms.items())
    say(f"latency in process, ms: {latency}; routes: {found.routes}")
    if found.unjudged:
        say(f"{len(found.unjudged)} queries have no judgements: searched, not scored")


def _figure(value: float, bounds: tuple[float, float] | None) -> str:
    return f"{value:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else " (-)")


def _route(name: RouteName | None) -> Any:
    from acgs.retrieval.configuration import Route as Known

    return None if name is None else Known[name.name]
