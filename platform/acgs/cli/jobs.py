"""Starting a training job: as a process of this Python, or as a submission to a Ray cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Final

import typer

from acgs.errors import InvalidInputError, UnavailableError

RUNTIME_ENV: Final = Path("cluster/runtime_env.yaml")
TOKEN_FILE: Final = Path.home() / ".ray" / "auth_token"


def run_job(module: str, words: Sequence[str], address: str | None) -> None:
    """Run a job to its end, here or on the cluster at `address`; its exit code becomes the command's."""
    if address is None:
        command = local_command(module, words)
    else:
        command = submit_command(module, words, address)
        if TOKEN_FILE.exists():
            # Ray's client leaves a token that it has unused unless it is told; a cluster of `acgs cluster up` asks.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    code = run_to_end(command)
    if code:
        raise typer.Exit(code)


def local_command(module: str, words: Sequence[str]) -> list[str]:
    """The job as a process of this Python.

    Raises:
        UnavailableError: the jobs or the libraries they train with are not installed.
    """
    if find_spec("train_jobs") is None:
        raise UnavailableError("the package train_jobs is not installed; run from the repository's root")
    if find_spec("torch") is None:
        raise UnavailableError("training needs the extra 'train': pip install 'acgs[train]'")
    return [sys.executable, "-m", module, *words]


def submit_command(module: str, words: Sequence[str], address: str) -> list[str]:
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
    return [*submit, "--", "python", "-m", module, *words]


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
