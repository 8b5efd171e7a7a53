"""`acgs train compare`: the variants of a run, trained and measured side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acgs.cli.jobs import run_job
from acgs.cli.output import JSON_OPTION

JOB = "train_jobs.compare"


def compare(
    *,
    config: Annotated[Path, typer.Option(help="The comparison file (YAML): a common run, and its variants.")],
    output: Annotated[Path, typer.Option(help="Folder for the variants, comparison.json and comparison.html.")],
    check: Annotated[bool, typer.Option("--check", help="Say what would run and be spent, and stop.")] = False,
    as_json: Annotated[bool, typer.Option(JSON_OPTION, help="One JSON document on standard output.")] = False,
    address: Annotated[str | None, typer.Option(help="Submit to this Ray cluster (http://host:8265).")] = None,
) -> None:
    """Compare base, fine-tuning, fine-tuning on revised data and private fine-tuning on the same held-out data.

    The file has `run` (the keys of a run file) and any of `revised_data` (a data set of acgs data revise), `epsilons`
    (one private variant each), `private` (how their last phase differs) and `sft: false`. With several epsilons
    run.privacy.target_epsilon says what they may spend together. Started again with the same output, finished variants
    are kept.

    Examples: `acgs train compare --config compare.yaml --output ./compared --check`,
    `acgs train compare --config compare.yaml --output ./compared --json`
    """
    words = ["--config", str(config), "--output", str(output)]
    words += [word for word, wanted in (("--check", check), (JSON_OPTION, as_json)) if wanted]
    run_job(JOB, words, address)
