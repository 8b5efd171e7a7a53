"""`acgs t1`: from a judged corpus to a retrieval candidate with the evidence for or against it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgs.cli.output import JSON_OPTION, say, write_json, write_table
from acgs.cli.progress import Progress

if TYPE_CHECKING:
    from acgs.release.t1.plan import T1Plan

app = typer.Typer(no_args_is_help=True, help="Package a retrieval candidate with the evidence for or against it.")


@app.callback()
def _group() -> None:
    """Keep `package` a sub-command although it is the only one."""


@app.command()
def package(
    *,
    corpus: Annotated[Path, typer.Option(help="Folder with docs.jsonl, queries.jsonl and qrels.tsv (BEIR).")],
    output: Annotated[Path, typer.Option(help="Folder for the artifacts, the index and the graphs.")] = Path("t1"),
    encoder: Annotated[str, typer.Option(help="'minilm', or a folder with an encoder.")] = "minilm",
    plan: Annotated[Path | None, typer.Option(help="Grids, folds and limits (YAML).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of folds and resampling; default: the plan's.")] = None,
    as_json: Annotated[bool, typer.Option(JSON_OPTION, help="Write one JSON document.")] = False,
) -> None:
    """Index, tune, confirm on queries left out, sweep ANN settings, audit, judge, and write all artifacts.

    Exit code 0: the contract passes. 1: it does not, or the queries are too few to tell. 2: they are too few
    to be divided into folds, or the input cannot be used. Interrupted, the index is taken up where it was.

    Example: `acgs retrieval import vaswani ./vaswani_npl ./vaswani && acgs t1 package --corpus ./vaswani --output ./t1`
    """
    from acgs.release.t1.package import find
    from acgs.release.t1.writing import write_package
    from acgs.retrieval.corpus import read_collection
    from acgs.retrieval.encoders import open_encoder

    settings = _plan(plan, seed)
    collection = read_collection(corpus)
    with Progress("documents indexed", len(collection.documents)) as progress:
        found = find(
            collection,
            open_encoder(encoder),
            settings,
            output,
            say=_tell,
            advance=progress.advance,
        )
    facts = write_package(found, output)
    if as_json:
        write_json(facts)
    else:
        _show(facts, output)
    if not found.contract.released:
        raise typer.Exit(1)


def _show(facts: dict[str, Any], output: Path) -> None:
    rows = [
        (
            name,
            item["queries"],
            f"{item['t0_ndcg10']:.4f}",
            f"{item['t1_ndcg10']:.4f}",
            f"{item['change']:+.4f}",
            _bound(item["lcb95"], same=facts["candidate_is_baseline"]),
        )
        for name, item in facts["quality"].items()
    ]
    write_table("nDCG@10 on queries left out", ("slice", "queries", "T0", "T1", "change", "lower bound"), rows)
    if facts["candidate_is_baseline"]:
        say("no rerank surely gains anything here, so the candidate is the baseline")
    if facts["router"] is None:
        say(f"no router and no thresholds are written: {facts['shipped']['why_no_gate']}")
    latency = facts["latency_ms"]
    say(f"p95 of processor time: {latency['t0']['p95']:.2f} ms to {latency['t1']['p95']:.2f} ms")
    say(f"contract: {facts['verdict']}; open {output / 'report.html'}")


def _bound(lower: float | None, *, same: bool) -> str:
    if same:
        return "none needed"
    return "too few" if lower is None else f"{lower:+.4f}"


def _plan(path: Path | None, seed: int | None) -> T1Plan:
    from acgs.learning.finetune.config import load_settings
    from acgs.release.t1.plan import T1Plan

    settings = T1Plan() if path is None else load_settings(path, T1Plan)
    return settings if seed is None else settings.model_copy(update={"seed": seed})


def _tell(step: str) -> None:
    sys.stderr.write(f"{step} ...\n")
