"""`acgs data revise`: critique and revision of a data set, in this process or on the actors of a Ray job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
import yaml

from acgs.cli.jobs import run_job
from acgs.cli.output import JSON_OPTION, write_fields, write_json, write_table
from acgs.cli.progress import Progress, stop_on_interrupt
from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.learning.revision.config import RevisionConfig
    from acgs.learning.revision.export import Exported
    from acgs.learning.revision.generator import Generator
    from acgs.learning.revision.opening import GeneratorChoice
    from acgs.learning.revision.report import BeforeAfter, RevisionReport, Share

JOB = "train_jobs.revise"
RUN_FILE = "revise.yaml"


def revise(
    data: Annotated[Path, typer.Argument(help="A data set's folder, with prompts and responses.")],
    output: Annotated[Path, typer.Option(help="The folder for chains and results; an unfinished one is continued.")],
    *,
    generator: Annotated[
        str, typer.Option(help="retrieval (offline), hf:FOLDER_OR_ID, or the URL of an OpenAI-compatible endpoint.")
    ] = "retrieval",
    model: Annotated[str | None, typer.Option(help="The endpoint's model.")] = None,
    key_variable: Annotated[str | None, typer.Option(help="Environment variable with the endpoint's key.")] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Data set whose compliant sentences retrieval uses. Default: the data itself.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=10, help="Revisions of one response at most.")] = 3,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of one answer of the generator.")] = 512,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.7,
    certainty: Annotated[
        float, typer.Option(min=0, max=1, help="Least probability of complying; a higher one revises good rows too.")
    ] = 0.7,
    division: Annotated[
        Literal["both", "halves"], typer.Option(help="Rows serve as answers and as pairs, or one half each.")
    ] = "both",
    refusal_cap: Annotated[float, typer.Option(min=0, max=1, help="Largest share of refusals among revisions.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")] = 0,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Run an hf: model in so many Ray actors. Their number changes no answer.")
    ] = None,
    cpus_per_actor: Annotated[int, typer.Option(min=1, help="CPUs of each actor.")] = 1,
    gpus_per_actor: Annotated[float, typer.Option(min=0, help="GPUs of each actor.")] = 0,
    address: Annotated[
        str | None,
        typer.Option(help="Submit to this Ray cluster (http://host:8265). Paths are then those of the cluster."),
    ] = None,
    as_json: Annotated[bool, typer.Option(JSON_OPTION, help="Write JSON for machines.")] = False,
) -> None:
    """Criticise and revise responses that breach the constitution; those that comply stay as they are.

    Writes chains.jsonl (every round of every row), sft/ and preferences/ (data sets) and report.json, judged by the
    second tier and another rule engine, which did not take part. Needs the extra 'train'. Killed or interrupted, it
    goes on where it stopped when it is called again in the same way.

    Examples: `acgs data revise ./set --output ./revised`,
    `acgs data revise ./set --output ./revised --generator http://localhost:8000/v1 --model llama --division halves`,
    `acgs data revise ./set --output ./revised --generator hf:./model --actors 4 --gpus-per-actor 1`
    """
    from acgs.learning.finetune.config import check_settings
    from acgs.learning.revision.config import RevisionConfig

    if address is not None and actors is None:
        raise InvalidInputError("--address submits a job of actors; say how many with --actors", field="actors")
    copies = None if actors is None else {"count": actors, "cpus": cpus_per_actor, "gpus": gpus_per_actor}
    values = {
        "data": data.resolve(),
        "generator": _placed(generator),
        "model": model,
        "key_variable": key_variable,
        "corpus": corpus.resolve() if corpus else None,
        "rounds": rounds,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "certainty": certainty,
        "division": division,
        "refusal_cap": refusal_cap,
        "seed": seed,
        "actors": copies,
    }
    config = check_settings(RevisionConfig, values, "revise")
    if config.actors is None:
        run_revision(config, output, as_json=as_json)
        return
    if output.exists() and not output.is_dir():
        raise InvalidInputError(f"{output} is a file; name a folder", field="output")
    path = output / RUN_FILE
    write_atomic(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    words = ["--config", str(path), "--output", str(output), *([JSON_OPTION] if as_json else [])]
    run_job(JOB, words, address)


def _placed(generator: str) -> str:
    """A model's folder by its whole path, since the job may run in another folder."""
    kind, _, name = generator.partition(":")
    return f"{kind}:{Path(name).resolve()}" if kind == "hf" and Path(name).is_dir() else generator


def run_revision(
    config: RevisionConfig,
    output: Path,
    *,
    as_json: bool,
    open_model: Callable[[GeneratorChoice], Generator] | None = None,
) -> None:
    """Bring a run to its end and show what came of it.

    Args:
        open_model: opens the generator's model; by default in this process.

    Raises:
        AcgsError: a part is missing or cannot answer; called again in the same way it goes on.
        KeyboardInterrupt: after the batch in which an interrupt came.
    """
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.revision.export import export, write_report
    from acgs.learning.revision.opening import open_generator, open_loop
    from acgs.learning.revision.report import report_on
    from acgs.learning.revision.run import read_chains, revise_dataset

    dataset = Dataset(config.data)
    if output.exists() and not output.is_dir():
        raise InvalidInputError(f"{output} is a file; name a folder", field="output")
    loop = open_loop(
        Settings(),
        config.choice,
        config.loop,
        corpus=Dataset(config.corpus) if config.corpus else dataset,
        certainty=config.certainty,
        open_model=open_model or open_generator,
    )
    with Progress("Revising", dataset.manifest.rows) as progress, stop_on_interrupt() as stopped:
        if not revise_dataset(dataset, output, loop, batch=config.batch, advance=progress.advance, stop=stopped):
            raise KeyboardInterrupt
    report = report_on(list(read_chains(output)))
    write_report(output, report)
    exported = export(output, dataset, config.loop, division=config.division, refusal_cap=config.refusal_cap)
    if as_json:
        write_json({"output": str(output), **asdict(exported), "report": asdict(report)})
    else:
        _show_report(output, report, exported)


def _show_report(output: Path, report: RevisionReport, exported: Exported) -> None:
    fields: dict[str, object] = {
        "rows": report.rows,
        **report.statuses,
        **{f"dropped: {name}": count for name, count in report.drop_reasons.items()},
        "mean rounds": _figure(report.mean_rounds),
        "content words kept": _figure(report.content_kept),
        "sentences kept": _figure(report.sentences_kept),
        "refusals among revisions": _share(report.refusals),
        "refusals of compliant rows": _share(report.over_refusals),
        "compliant rows changed": _share(report.controls_changed),
        "answers, pairs written": f"{exported.answers}, {exported.pairs}",
    }
    write_fields(f"{output.name}, judged by {report.evaluator_id}", fields)
    by = {"usable rows": report.usable_rows, "revised rows": report.revised_rows, "all rows": report.all_rows}
    columns = ("", "before", "after")
    write_table("Compliance, 95 % interval", columns, (_compliance(*item) for item in by.items()))
    if report.per_principle:
        write_table("By principle, usable rows", columns, (_compliance(*item) for item in report.per_principle.items()))


def _compliance(name: str, figures: BeforeAfter) -> tuple[str, str, str]:
    return name, _share(figures.before), _share(figures.after)


def _figure(value: float | None) -> str:
    return "no data" if value is None else f"{value:.3f}"


def _share(share: Share) -> str:
    if share.value is None:
        return "no data"
    return f"{share.value:.3f} ({share.lower:.3f} to {share.upper:.3f}), {share.count} of {share.n}"
