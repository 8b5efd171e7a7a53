"""`acgs train`: start a training job in a process of its own, or submit it to a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acgs.cli.compare import compare
from acgs.cli.finetune import dapt, dp, run, sft
from acgs.cli.guard_adapter import guard_adapter
from acgs.cli.jobs import run_job
from acgs.cli.sweep import sweep

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Train artifacts under the constitution in force.

    A job runs on this machine, or with --address on a Ray cluster. Interrupted, it goes on from its last finished
    stage or checkpoint when it is started again with the same options.""",
)
for command in (sft, dapt, dp, run, compare, guard_adapter, sweep):
    app.command()(command)


@app.command()
def guard(
    *,
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a public set.")],
    output: Annotated[Path, typer.Option(help="Folder for the bundle; it is written whole, at the end.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Small data and one epoch, to try the job out. The bundle is not good.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Recorded in the bundle. Default: the job's own.")] = None,
    version: Annotated[str | None, typer.Option(help="SemVer of the bundle. Default: 1.0.0.")] = None,
    signing_key: Annotated[
        Path | None, typer.Option(help="Ed25519 PEM that signs the bundle. Default: one made in the work folder.")
    ] = None,
    constitution: Annotated[Path | None, typer.Option(help="Its folder. Default: the shipped one.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keeps finished stages. Default: .acgs/guard-training.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="A public set to use; repeat it. Default: all.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Submit to this Ray cluster (http://host:8265). Paths are then those of the cluster."),
    ] = None,
) -> None:
    """Train a guard bundle: second tier, inline encoder, calibrated policy forest; signed with its digests.

    Takes an hour or so on two cores; --quick takes minutes. Point ACGS_GUARD_BUNDLE at the output to serve it. Ctrl-C
    is passed on to the job, and the exit code is the job's.

    Examples: `acgs train guard --data ../shared/data --output ./bundle --quick`,
    `acgs train guard --data /mnt/data --output /mnt/bundle --address http://head:8265`
    """
    options: dict[str, object] = {
        "--data": data,
        "--output": output,
        "--seed": seed,
        "--version": version,
        "--signing-key": signing_key,
        "--constitution": constitution,
        "--work": work,
    }
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    words += [word for name in sets or [] for word in ("--set", name)]
    words += ["--quick"] if quick else []
    run_job("train_jobs.guard", words, address)
