"""`acgs train guard-adapter`: a harm adapter with differential privacy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acgs.cli.jobs import run_job


def guard_adapter(
    *,
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a set.")],
    output: Annotated[Path, typer.Option(help="Folder for the adapter; it is written whole, at the end.")],
    config: Annotated[Path | None, typer.Option(help="Run file (YAML). Default: fits the public sets.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Budget of each set over all its runs. Default: 8.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of split and initial weights; the noise has none.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also train without privacy, to compare with: public data only.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Say whether the run could start, and stop.")] = False,
    address: Annotated[str | None, typer.Option(help="Submit to this Ray cluster (http://host:8265).")] = None,
) -> None:
    """Train a LoRA adapter that tells harmful text, with differential privacy; every step is in the privacy ledger.

    Set ACGS_SECOND_TIER_ADAPTER to the output to score with it: `acgs governance score --tier adapter`.

    Example: `acgs train guard-adapter --data ../shared/data --output ./adapter --compare`
    """
    options: dict[str, object] = {
        "--data": data,
        "--output": output,
        "--config": config,
        "--epsilon": epsilon,
        "--seed": seed,
    }
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    words += [word for word, wanted in (("--compare", compare), ("--check", check)) if wanted]
    run_job("train_jobs.guard_adapter", words, address)
