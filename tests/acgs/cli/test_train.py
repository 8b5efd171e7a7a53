from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from acgs.cli import jobs
from acgs.cli.jobs import RUNTIME_ENV, local_command, run_to_end, submit_command
from acgs.cli.main import run
from acgs.errors import InvalidInputError

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")

CHILD = """
import pathlib, signal, sys, time
def stopped(number, frame):
    pathlib.Path(sys.argv[1]).write_text(str(number))
    sys.exit(7)
signal.signal(signal.SIGINT, stopped)
signal.signal(signal.SIGTERM, stopped)
pathlib.Path(sys.argv[2]).touch()
time.sleep(120)
"""
PARENT = "import sys; from acgs.cli.jobs import run_to_end; sys.exit(run_to_end(sys.argv[1:]))"


@needs_torch
def test_every_option_reaches_the_job_as_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The job's own parser reads the command line back."""
    from train_jobs.guard import parse_arguments

    called: list[list[str]] = []

    def keep(command: list[str]) -> int:
        called.append(command)
        return 0

    monkeypatch.setattr(jobs, "run_to_end", keep)
    words = ["--data", str(tmp_path), "--output", "bundle", "--quick", "--seed", "7", "--version", "2.0.0"]
    words += ["--signing-key", "key.pem", "--constitution", "mine", "--work", "kept", "--set", "a", "--set", "b"]
    assert run(["train", "guard", *words]) == 0
    [command] = called
    assert command[:3] == [sys.executable, "-m", "train_jobs.guard"]
    assert parse_arguments(command[3:]) == parse_arguments(words)
    assert parse_arguments(command[3:]).sets == ["a", "b"]


@needs_torch
def test_the_jobs_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jobs, "run_to_end", lambda command: 2)
    assert run(["train", "guard", "--data", str(tmp_path), "--output", "x"]) == 2


@needs_torch
def test_a_data_folder_that_is_not_there_ends_with_what_is_wrong(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--data", str(tmp_path / "none"), "--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert run_to_end(local_command("train_jobs.guard", words)) == 2
    assert "cannot load" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_submission_carries_the_working_directory_and_the_runtime_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match="repository's root"):
        submit_command("train_jobs.guard", ["--data", "d"], "http://head:8265")
    RUNTIME_ENV.parent.mkdir()
    RUNTIME_ENV.touch()
    command = submit_command("train_jobs.guard", ["--data", "d"], "http://head:8265")
    split = command.index("--")
    assert Path(command[0]).name == "ray"
    assert command[1:3] == ["job", "submit"]
    assert command[command.index("--address") + 1] == "http://head:8265"
    assert command[command.index("--runtime-env") + 1] == str(RUNTIME_ENV)
    assert command[split + 1 :] == ["python", "-m", "train_jobs.guard", "--data", "d"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_passed_on_once_and_the_job_may_finish_its_own_way(tmp_path: Path, number: int) -> None:
    told, ready = tmp_path / "told", tmp_path / "ready"
    words = [sys.executable, "-c", PARENT, sys.executable, "-c", CHILD, str(told), str(ready)]
    with subprocess.Popen(words) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not ready.exists():
            time.sleep(0.01)
        os.kill(process.pid, number)
        assert process.wait(timeout=60) == 7
    assert told.read_text() == str(number)


def test_a_job_that_a_signal_ended_gives_the_shells_code() -> None:
    assert run_to_end([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]) == 137
