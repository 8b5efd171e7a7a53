"""`acgs train sweep`: vary the settings of a run and keep the best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acgs.cli.jobs import run_job


def sweep(
    *,
    config: Annotated[Path, typer.Option(help="The sweep file (YAML); it names the run file it varies.")],
    output: Annotated[Path, typer.Option(help="Folder for trials, their rows and the best run file.")],
    check: Annotated[bool, typer.Option("--check", help="Say whether the sweep could start, and stop.")] = False,
    address: Annotated[str | None, typer.Option(help="Submit to this Ray cluster (http://host:8265).")] = None,
) -> None:
    """Vary rank, learning rate, noise and clipping of a run; what falls behind is stopped early.

    Every trial on private data spends privacy: all are charged in the ledger, or the sweep is refused before it starts.
    Started again with the same output, a killed sweep goes on where it was.

    Example: `acgs train sweep --config sweep.yaml --output ./sweep --check`
    """
    words = ["--config", str(config), "--output", str(output), *(["--check"] if check else [])]
    run_job("tune_sweeps.lora", words, address)
