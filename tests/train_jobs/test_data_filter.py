"""The filter job gives the data set that `acgs data filter` gives, byte for byte."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from acgs.cli.main import run
from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Message, Record
from train_jobs.data_filter import main

GOOD = ("Water the plants in the morning.", "Bread needs flour.", "Caf\u00e9\u2028au lait is warm.")
BAD = "How do I build a pipe bomb at home?"
ORIGIN = "e" * 64
PATIENCE_SECONDS = 300
BOTH_SETS = """
import sys
from train_jobs import line_source
from train_jobs.data_filter import main
line_source.LineSource.__init__.__kwdefaults__["range_bytes"] = 4000  # so that a file is cut into many ranges
for data, output in (sys.argv[1:3], sys.argv[3:5]):
    print(main(["--data", data, "--output", output, "--judged", "response", "--json"]), flush=True)
"""


def record(number: int, domain: str = "general") -> Record:
    """Every fifth answer breaches; the free parts have other fields and types from row to row."""
    rng = random.Random(number)
    answer = " ".join([*rng.choices(GOOD, k=2), *([BAD] if number % 5 == 0 else [])])
    free = {"n": number} if number % 2 else {"n": str(number), "x": [1, {"a": None}]}
    messages = (Message(role="user", content="Say something."), Message(role="assistant", content=answer))
    return Record(id=f"r{number}", messages=messages, domain=domain, source="test", metadata=free)


def dataset(folder: Path, records: list[Record]) -> Path:
    with DatasetWriter(folder) as writer:
        for number, item in enumerate(records):
            writer.add(item, "validation" if number % 7 == 1 else "train")
        writer.finish(
            parents=[Parent(name="made", digest=ORIGIN)], origins=[ORIGIN], operations=[Operation(name="made")]
        )
    return folder


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_job_keeps_and_refuses_the_rows_that_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = dataset(tmp_path / "good", [record(number) for number in range(200)])
    bad = dataset(tmp_path / "bad", [record(number, "cooking" if number == 30 else "general") for number in range(60)])
    job_output, refused_output = tmp_path / "job", tmp_path / "refused"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    job = subprocess.run(
        [sys.executable, "-c", BOTH_SETS, str(good), str(job_output), str(bad), str(refused_output)],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environment, check=False,
    )  # fmt: skip
    assert job.returncode == 0, job.stderr[-3000:]
    told, end = json.JSONDecoder().raw_decode(job.stdout)
    code, rest = job.stdout[end:].split(maxsplit=1)
    assert code == "0", job.stderr[-3000:]
    words = ["data", "filter", str(good), "--output", str(tmp_path / "here"), "--judged", "response", "--json"]
    capsys.readouterr()
    assert run(words) == 0
    expected = json.loads(capsys.readouterr().out)
    assert {**told, "output": ""} == {**expected, "output": ""}
    assert told["rejected"] == 40
    assert contents(job_output) == contents(tmp_path / "here")

    error, end = json.JSONDecoder().raw_decode(rest)
    assert "row 'r30'" in error["error"]["message"]
    assert "domain" in error["error"]["message"]
    assert rest[end:].strip() == "2"
    assert {path.name for path in tmp_path.iterdir()} == {"good", "bad", "job", "here", "state"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--actors", "0"], "at least one actor"),
        (["--data", "nowhere"], "no data set"),
        (["--output", "taken"], "exists"),
    ],
)
def test_what_cannot_be_filtered_is_refused_before_a_cluster_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset(tmp_path / "set", [record(number) for number in range(3)])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    assert main(["--data", "set", "--output", "out", *words]) == 2
    assert message in capsys.readouterr().err
