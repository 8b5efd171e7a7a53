"""`acgs data`: generate labelled scenarios and look into scenario files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from acgs.cli.output import say, write_fields, write_json, write_table
from acgs.constitution.source import load_locked
from acgs.errors import InvalidInputError
from acgs.governance.scenarios.generator import Scenario
from acgs.governance.scenarios.generator import generate as generate_scenarios
from acgs.governance.scenarios.scenario_file import count_scenarios, read_scenarios, write_scenarios
from acgs.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Labelled scenarios: a text, a context, and the verdict that the constitution gives on them.""",
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


@app.command()
def generate(
    count: Annotated[int, typer.Option(min=1, help="How many scenarios.")],
    output: Annotated[Path, typer.Option(help="The JSON lines file to write; it appears when it is whole.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same scenarios.")] = 0,
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


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A file that `generate` wrote.")], as_json: AsJson = False
) -> None:
    """Count a scenario file by domain, verdict and principle, and its duplicates.

    Example: `acgs data inspect scenarios.jsonl --json`
    """
    counts = count_scenarios(read_scenarios(file))
    if counts.total == 0:
        raise InvalidInputError(f"{file.name} holds no scenarios", field="file")
    if as_json:
        write_json(asdict(counts))
        return
    totals = {"scenarios": counts.total, "duplicates": counts.duplicates, "groups": counts.groups}
    write_fields(file.name, dict(totals))
    for title, by in (("Domain", counts.by_domain), ("Verdict", counts.by_verdict), ("Principle", counts.by_principle)):
        write_table(f"By {title.lower()}", (title, "scenarios", "share"), _shares(by, counts.total))


def _shares(by: dict[str, int], total: int) -> list[tuple[str, int, str]]:
    return [(name, count, f"{count / total:.1%}") for name, count in by.items()]
