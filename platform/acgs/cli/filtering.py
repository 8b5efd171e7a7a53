"""`acgs data filter`: by the constitution, in this process or on the actors of a Ray job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from acgs.cli.jobs import run_job
from acgs.cli.output import JSON_OPTION, say, write_table
from acgs.cli.progress import Progress
from acgs.cli.written import show_written
from acgs.errors import InvalidInputError
from acgs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from acgs.governance.decision import Governor
    from acgs.learning.data.dataset import Dataset
    from acgs.learning.data.filtering import JudgedRow
    from acgs.learning.data.filters import Judged, Uncertain

JOB = "train_jobs.data_filter"


def filter_(
    data: Annotated[Path, typer.Argument(help="A data set's folder.")],
    output: Annotated[Path, typer.Option(help="The folder to write; it must not exist.")],
    *,
    uncertain: Annotated[
        Literal["drop", "keep"], typer.Option(help="What to do with rows that the guard cannot decide.")
    ] = "drop",
    judged: Annotated[
        Literal["all", "response"], typer.Option(help="Judge every message, or the last answer alone.")
    ] = "all",
    actors: Annotated[
        int | None, typer.Option(min=1, help="Judge on so many Ray actors. Their number changes no row.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Submit to this Ray cluster (http://host:8265). Paths are then those of the cluster."),
    ] = None,
    as_json: Annotated[bool, typer.Option(JSON_OPTION, help="Write JSON for machines.")] = False,
) -> None:
    """Keep what complies with the constitution. rejects.jsonl names every other row with its rules and principles.

    Examples: `acgs data filter ./set --output ./clean --judged response`,
    `acgs data filter ./set --output ./clean --actors 8`
    """
    if address is not None and actors is None:
        raise InvalidInputError("--address submits a job of actors; say how many with --actors", field="actors")
    if actors is None:
        run_filter(data, output, uncertain=uncertain, judged=judged, as_json=as_json)
        return
    words = ["--data", str(data.resolve()), "--output", str(output.resolve()), "--actors", str(actors)]
    words += ["--uncertain", uncertain, "--judged", judged, *([JSON_OPTION] if as_json else [])]
    run_job(JOB, words, address)


def run_filter(
    data: Path,
    output: Path,
    *,
    uncertain: Uncertain,
    judged: Judged,
    as_json: bool,
    judge_rows: Callable[[Dataset, Governor], Iterable[JudgedRow]] | None = None,
) -> None:
    """Filter a data set and say what was kept.

    Args:
        judge_rows: judges the data set's rows, in their order; by default in this process.

    Raises:
        AcgsError: the data, the guard or the output cannot be used; nothing is left of the output.
    """
    from acgs.governance.assembly import open_governor
    from acgs.learning.data.dataset import Dataset, refuse_occupied
    from acgs.learning.data.filtering import JudgedRow, write_filtered
    from acgs.learning.data.filters import ConstitutionFilter

    dataset = Dataset(data)
    refuse_occupied(output)
    governor = open_governor(Settings())

    def judge_here() -> Iterable[JudgedRow]:
        judge = ConstitutionFilter(governor, uncertain=uncertain, judged=judged)
        return (JudgedRow(split, record, judge.judge(record)) for split, record in dataset.split_records())

    rows = judge_rows(dataset, governor) if judge_rows else judge_here()
    with Progress("Filtering", dataset.manifest.rows) as progress:
        manifest, counts = write_filtered(
            rows, dataset, output, governor, uncertain=uncertain, judged=judged, advance=progress.advance
        )
    reasons = dict(counts.reasons.most_common())
    show_written(output, manifest, counts.kept, as_json=as_json, rejected=counts.rejected, reasons=reasons)
    if not as_json:
        say(
            f"{counts.rejected} rows rejected, see {output / 'rejects.jsonl'}" if counts.rejected else "no row rejected"
        )
        if reasons:
            write_table("Reasons", ("rule or principle", "rows"), reasons.items())
