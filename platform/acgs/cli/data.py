"""`acgs data`: generate, import, filter, revise and inspect training data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import track

from acgs.cli.filtering import filter_
from acgs.cli.output import say, write_fields, write_json, write_table
from acgs.cli.revision import revise
from acgs.cli.written import show_written
from acgs.constitution.source import load_locked
from acgs.errors import InvalidInputError
from acgs.governance.scenarios.generator import Scenario
from acgs.governance.scenarios.generator import generate as generate_scenarios
from acgs.governance.scenarios.scenario_file import count_scenarios, read_scenarios, write_scenarios
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.learning.data.dataset import DatasetWriter
    from acgs.learning.data.inspection import RecordCounts
    from acgs.learning.data.manifest import Manifest
    from acgs.learning.data.records import Record

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Training data under the constitution: generate, import, filter, revise, inspect.

    A data set is a folder of JSON lines with a manifest: digests, parents, and every step that made it. It appears
    whole or not at all, and is checked against its digests whenever it is read.""",
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Output = Annotated[Path, typer.Option(help="The folder to write; it must not exist.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")]


@app.command()
def generate(
    count: Annotated[int, typer.Option(min=1, help="How many scenarios.")],
    output: Annotated[Path, typer.Option(help="The JSON lines file to write; it appears when it is whole.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same scenarios.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write scenarios labelled by the constitution in force.

    Example: `acgs data generate --count 10000 --seed 7 --output scenarios.jsonl`
    """
    if output.is_dir():
        raise InvalidInputError(f"{output} is a folder; name a file", field="output")
    constitution = load_locked(Settings().constitution_path)
    scenarios = generate_scenarios(constitution.document, count, seed)
    written = write_scenarios(output, _with_progress(scenarios, count, quiet=as_json))
    if as_json:
        write_json({"output": str(output), "count": written, "seed": seed, "constitution": constitution.digest})
    else:
        say(f"{written} scenarios in {output}, seed {seed}, constitution {constitution.label}")


def _with_progress(scenarios: Iterable[Scenario], count: int, *, quiet: bool) -> Iterable[Scenario]:
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    return track(scenarios, "Generating", total=count, console=console, disable=hidden, transient=True)


@app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(help="A .jsonl, .parquet or .txt file, a saved data set, or hub:OWNER/NAME.")
    ],
    output: Output,
    *,
    form: Annotated[
        Literal["columns", "records", "scenarios", "scenario-responses"],
        typer.Option("--format", help="By columns, as ACGS wrote it, or made of generated scenarios."),
    ] = "columns",
    prompt_column: Annotated[str | None, typer.Option(help="Default: prompt.")] = None,
    response_column: Annotated[str | None, typer.Option(help="Default: response.")] = None,
    messages_column: Annotated[str | None, typer.Option(help="Chats of role and content. Default: messages.")] = None,
    transcript_column: Annotated[
        str | None, typer.Option(help="Turns in one string, 'Human:' and 'Assistant:'. hh-rlhf: chosen.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Bare texts. Default: text.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Default: id, else the row's number.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Rows that stay together. Default: group.")] = None,
    user_column: Annotated[str | None, typer.Option(help="Whose privacy a row touches. Default: user.")] = None,
    deduplicate: Annotated[bool, typer.Option(help="Drop near-copies; needs all rows in memory.")] = False,
    split: Annotated[
        str | None, typer.Option(help="Shares of train, validation and test, as 0.8/0.1/0.1; no group on two sides.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Bring data in as a data set. A download that fails is a failure; nothing is put in its place.

    Examples: `acgs data import chats.jsonl --prompt-column question --response-column answer --output ./set`,
    `acgs data import hub:Anthropic/hh-rlhf#test --transcript-column chosen --output ./hh --split 0.9/0.05/0.05`
    """
    from acgs.learning.data.columns import ColumnMap
    from acgs.learning.data.dataset import DatasetWriter
    from acgs.learning.data.importers import import_records, lineage_of
    from acgs.learning.data.manifest import Operation
    from acgs.learning.data.splits import parse_shares

    columns = ColumnMap.of(
        prompt=prompt_column,
        response=response_column,
        messages=messages_column,
        transcript=transcript_column,
        text=text_column,
        id=id_column,
        group=group_column,
        user=user_column,
    )
    shares = parse_shares(split) if split else None
    with DatasetWriter(output) as writer:
        parent, origins, earlier = lineage_of(source, form)
        records = import_records(source, form=form, columns=columns, seed=seed)
        steps = [Operation(name="import", parameters={"format": form, **columns.named}, seed=seed)]
        if deduplicate or shares:
            records, more = _arranged(records, deduplicate=deduplicate)
            steps += more
        if shares:
            steps.append(Operation(name="split", parameters=dict(shares), seed=seed))
        count = _write(writer, records, shares, seed)
        manifest = writer.finish(parents=[parent], origins=origins, operations=[*earlier, *steps])
    show_written(output, manifest, count, as_json=as_json)


def _arranged(records: Iterable[Record], *, deduplicate: bool) -> tuple[Iterator[Record], list[Any]]:
    from acgs.learning.data.duplicates import without_duplicates
    from acgs.learning.data.manifest import Operation

    rows = list(records)
    if not deduplicate:
        return iter(rows), []
    kept = without_duplicates(rows)
    return iter(kept), [Operation(name="deduplicate", parameters={"dropped": len(rows) - len(kept)})]


def _write(writer: DatasetWriter, records: Iterable[Record], shares: dict[str, float] | None, seed: int) -> int:
    """Stream the rows, or hold them where a split has to see all groups first."""
    from acgs.learning.data.splits import assign_splits

    count = 0
    if shares is None:
        for count, record in enumerate(records, start=1):  # noqa: B007 - the count is the result
            writer.add(record)
        return count
    rows = list(records)
    for record, name in zip(rows, assign_splits([row.keys for row in rows], shares, seed), strict=True):
        writer.add(record, name)
    return len(rows)


app.command("filter")(filter_)
app.command()(revise)


@app.command()
def inspect(
    data: Annotated[Path, typer.Argument(help="A data set's folder, or a file of scenarios.")], as_json: AsJson = False
) -> None:
    """Check a data set against its digests and count it, or count a scenario file.

    Examples: `acgs data inspect ./set`, `acgs data inspect scenarios.jsonl --json`
    """
    if data.is_dir():
        _inspect_dataset(data, as_json=as_json)
        return
    counts = count_scenarios(read_scenarios(data))
    if counts.total == 0:
        raise InvalidInputError(f"{data.name} holds no scenarios", field="data")
    if as_json:
        write_json(asdict(counts))
        return
    totals = {"scenarios": counts.total, "duplicates": counts.duplicates, "groups": counts.groups}
    write_fields(data.name, dict(totals))
    for title, by in (("Domain", counts.by_domain), ("Verdict", counts.by_verdict), ("Principle", counts.by_principle)):
        write_table(f"By {title.lower()}", (title, "scenarios", "share"), _shares(by, counts.total))


def _inspect_dataset(directory: Path, *, as_json: bool) -> None:
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.data.inspection import count_records
    from acgs.learning.revision.export import holds_pairs, pair_records

    dataset = Dataset(directory)
    counts = count_records(pair_records(dataset) if holds_pairs(dataset) else dataset.records())
    if as_json:
        manifest = dataset.manifest.model_dump(mode="json")
        write_json({"digests": "match", "manifest": manifest, "counts": asdict(counts)})
    else:
        _show_dataset(directory, dataset.manifest, counts)


def _show_dataset(directory: Path, manifest: Manifest, counts: RecordCounts) -> None:
    constitution = manifest.constitution_digest
    fields: dict[str, object] = {
        "digests": "match",
        "data set": manifest.id,
        "constitution": constitution or "not judged",
        "parents": ", ".join(f"{parent.name} {parent.digest[:16]}" for parent in manifest.parents),
        "steps": " -> ".join(step.name for step in manifest.operations),
        "rows": counts.rows,
        "groups": counts.groups,
        "users": counts.users,
    }
    write_fields(directory.name, fields)
    write_table("Files", ("file", "rows", "bytes"), ((n, e.rows, e.size) for n, e in manifest.files.items()))
    words = {"words": counts.words, "words of the response": counts.response_words or {}}
    columns = ("", *counts.words)
    write_table("Lengths", columns, ((name, *(f"{v:.0f}" for v in by.values())) for name, by in words.items() if by))
    tables = {"form": counts.forms, "source": counts.by_source, "domain": counts.by_domain}
    for title, by in (tables | {"breached principle": counts.by_principle}).items():
        if by:
            write_table(f"By {title}", (title, "rows", "share"), _shares(by, counts.rows))


def _shares(by: dict[str, int], total: int) -> list[tuple[str, int, str]]:
    return [(name, count, f"{count / total:.1%}") for name, count in by.items()]
