"""`acgs train`: start a training job in a process of its own, or submit it to a cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from acgs.errors import InvalidInputError, UnavailableError

RUNTIME_ENV: Final = Path("cluster/runtime_env.yaml")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Train artifacts under the constitution in force.

    A job runs on this machine, or with --address on a Ray cluster. Interrupted, it goes on from its last finished
    stage when it is started again with the same options.""",
)


@app.callback()
def _group() -> None:
    """Keeps `guard` a sub-command while it is the only one."""


@app.command()
def guard(
    *,
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a public set.")],
    output: Annotated[Path, typer.Option(help="Folder for the bundle; it is written whole, at the end.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Small data and one epoch, to try the job out. The bundle is not good.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Recorded in the bundle. Default: the job's own.")] = None,
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
    command = local_command(words) if address is None else submit_command(words, address)
    code = run_to_end(command)
    if code:
        raise typer.Exit(code)


def local_command(words: Sequence[str]) -> list[str]:
    """The job as a process of this Python.

    Raises:
        UnavailableError: the jobs or the libraries they train with are not installed.
    """
    if find_spec("train_jobs") is None:
        raise UnavailableError("the package train_jobs is not installed; run from the repository's root")
    if find_spec("torch") is None:
        raise UnavailableError("training needs the extra 'train': pip install 'acgs[train]'")
    return [sys.executable, "-m", "train_jobs.guard", *words]


def submit_command(words: Sequence[str], address: str) -> list[str]:
    """The same job as a submission to a cluster; the working directory travels with it.

    Raises:
        InvalidInputError: the current folder is not the one that can be submitted.
        UnavailableError: Ray's command is missing.
    """
    ray = Path(sys.executable).with_name("ray")
    if not ray.exists():
        raise UnavailableError("Ray's command is not installed beside Python: pip install acgs")
    if not RUNTIME_ENV.exists():
        raise InvalidInputError(f"{RUNTIME_ENV} is not here; submit from the repository's root", field="address")
    submit = [str(ray), "job", "submit", "--address", address, "--working-dir", ".", "--runtime-env", str(RUNTIME_ENV)]
    return [*submit, "--", "python", "-m", "train_jobs.guard", *words]


def run_to_end(command: Sequence[str]) -> int:
    """Run a command, passing Ctrl-C and termination on, and return its exit code: 128 + n where signal n ended it.

    The command gets a session of its own, so that an interrupt typed at a terminal reaches it once, through us.
    """
    with subprocess.Popen(command, start_new_session=True) as process:  # noqa: S603 - our own job and Ray's command

        def pass_on(number: int, _frame: FrameType | None) -> None:
            process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code
