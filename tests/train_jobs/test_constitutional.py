"""The training job: what it refuses beforehand, and a private run of two workers that loses one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.privacy.sql_ledger import SqlLedger
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from tests.processes import below
from tests.sentences import record
from train_jobs.constitutional import main, prepare

ORIGIN = hashlib.sha256(b"people").hexdigest()
PATIENCE_SECONDS = 400
USERS = 32
"""In the training split, with three records each."""

BY_USER: dict[str, Any] = {"accountant": "rdp", "population": "people", "unit": "user", "contribution_cap": 2}

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes a data set, a public corpus and a run file with changes; returns the run file."""
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    with DatasetWriter(tmp_path / "data") as writer:
        for number in range(120):
            train = number < 96
            owner = f"{'train' if train else 'held-out'}-{number % USERS}"
            writer.add(record(number, user=owner), "train" if train else "validation")
        parent = Parent(name="people", digest=ORIGIN)
        writer.finish(parents=[parent], origins=[ORIGIN], operations=[Operation(name="made")])
    public = (record(number).contents for number in range(1000, 1200))
    (tmp_path / "public.txt").write_text("\n".join(public), encoding="utf-8")

    def write(**changes: Any) -> Path:
        phase = {
            "kind": "sft", "data": "data", "epochs": 5, "learning_rate": 5e-3, "batch_size": 12,
            "micro_batch_size": 8, "max_length": 96, "private": True, **changes.pop("phase", {}),
        }  # fmt: skip
        tiny = {"corpus": "public.txt", "hidden_size": 32, "layers": 2, "heads": 2, "vocabulary": 300, "context": 128}
        run = {
            "name": "test", "base_model": {"tiny": tiny}, "phases": [phase],
            "lora": {"r": 2, "alpha": 4, "dropout": 0.0},
            "privacy": {"accountant": "rdp", "population": "people", "block": 4},
            "evaluation": {"max_prompts": 4, "max_new_tokens": 8},
            "checkpoint_every_steps": 4, "workers": 2, **changes,
        }  # fmt: skip
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(run), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora": {"r": 0}}, "lora.r"),
        ({"lora": {"rank": 4}}, "lora.rank"),
        ({"privacy": {"target_epsilon": 0}}, "privacy.target_epsilon"),
        ({"privacy": {"delta": 0.5, "accountant": "rdp"}}, "delta"),
        ({"privacy": None}, "has no 'privacy' part"),
        ({"phase": {"batch_size": 500}}, "batch"),
        ({"phase": {"data": "nowhere"}}, "nowhere"),
        ({"phase": {"max_length": 4}}, "more than 4"),
        ({"phase": {"packing": True}}, "packing"),
        ({"phase": {"batch_size": 1}}, "number of workers"),
        ({"base_model": {"path": "nowhere"}}, "nowhere"),
        ({"phase": {"epochs": float("inf")}}, "epochs"),
        ({"phase": {"max_length": 256}}, "context of 128"),
        ({"base_model": {"tiny": {"corpus": "public.txt", "heads": 3}}}, "multiple of heads"),
        ({"base_model": {"tiny": {"corpus": "public.txt", "hidden_size": 10**30}}}, "hidden_size"),
        ({"seed": -1}, "seed"),
        ({"lora": {"dora": True}}, "DoRA"),
        ({"surprise": 1}, "surprise"),
        ({"privacy": {"unit": "user"}}, "contribution_cap"),
        ({"privacy": {"contribution_cap": 3}}, "contribution_cap"),
        ({"privacy": BY_USER | {"mode": "ghost"}}, "mode"),
        ({"privacy": BY_USER | {"delta": 0.04}}, "delta 0.04 must be below 1/population = 0.0312"),
        ({"privacy": BY_USER, "phase": {"batch_size": 33}}, "larger than the population of 32"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence_before_anything_starts(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert main(["--config", str(written(**changes)), "--output", str(tmp_path / "out"), "--check"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("acgs: ")
    assert error.count("\n") == 1


def test_with_the_unit_user_the_plan_counts_users(written: Written, tmp_path: Path) -> None:
    plan = prepare(written(privacy=BY_USER), tmp_path / "out", only_look=True).plan
    assert (plan.unit, plan.contribution_cap, plan.population, plan.expected_batch) == ("user", 2, USERS, 12)
    assert plan.steps == 5 * 3, "an epoch draws each user once on average"


def test_data_without_user_ids_is_refused_for_the_unit_user(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DatasetWriter(tmp_path / "anonymous") as writer:
        for number in range(40):
            writer.add(record(number, user=f"u{number}" if number != 7 else None), "train")
        writer.add(record(99), "validation")
        parent = Parent(name="people", digest=ORIGIN)
        writer.finish(parents=[parent], origins=[ORIGIN], operations=[Operation(name="made")])
    config = written(privacy=BY_USER, phase={"data": "anonymous"})
    assert main(["--config", str(config), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "--user-column" in capsys.readouterr().err


def test_user_level_runs_of_a_population_share_its_budget_whatever_data_they_read(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(written(privacy=BY_USER), tmp_path / "first")
    with DatasetWriter(tmp_path / "more") as writer:
        for number in range(40):
            writer.add(record(200 + number, user=f"train-{number}"), "train")
        writer.add(record(299), "validation")
        other = hashlib.sha256(b"other data of the same people").hexdigest()
        parent = Parent(name="more", digest=other)
        writer.finish(parents=[parent], origins=[other], operations=[Operation(name="made")])
    config = written(privacy=BY_USER, phase={"data": "more"})
    assert main(["--config", str(config), "--output", str(tmp_path / "second"), "--check"]) == 2
    assert "nothing would be learned" in capsys.readouterr().err


def test_changed_data_is_refused(written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written()
    with (tmp_path / "data" / "train.jsonl").open("ab") as handle:
        handle.write(record(5000).line())
    assert main(["--config", str(config), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "train.jsonl" in capsys.readouterr().err


def test_an_output_folder_belongs_to_one_run(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = prepare(written(), tmp_path / "out")
    assert prepare(written(), tmp_path / "out").run_id == first.run_id
    assert main(["--config", str(written(seed=9)), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "another run" in capsys.readouterr().err


@pytest.mark.parametrize("corpus", ["data/train.jsonl", "link.jsonl", "copy.jsonl"])
def test_a_tokenizer_is_not_trained_on_the_private_data(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: str
) -> None:
    tiny = {"corpus": corpus, "hidden_size": 32, "layers": 2, "heads": 2, "vocabulary": 300, "context": 128}
    config = written(base_model={"tiny": tiny})
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "data" / "train.jsonl")
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "data" / "train.jsonl").read_bytes())
    assert main(["--config", str(config), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "leaks" in capsys.readouterr().err


def test_an_output_that_can_be_no_folder_is_refused_beforehand(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in (tmp_path / "public.txt", tmp_path / "public.txt" / "out", Path("/dev/full")):
        assert main(["--config", str(written()), "--output", str(output), "--check"]) == 2
        assert "cannot be a folder" in capsys.readouterr().err


def test_other_terms_for_the_same_data_are_refused_beforehand_and_leave_the_folder_free(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = {"accountant": "rdp", "population": "people", "run_epsilon": 4.0}
    prepare(written(privacy=half), tmp_path / "first")
    other = {"accountant": "rdp", "population": "people", "target_epsilon": 9.0}
    output = tmp_path / "second"
    assert main(["--config", str(written(privacy=other)), "--output", str(output), "--check"]) == 2
    assert "fixed target_epsilon" in capsys.readouterr().err
    assert main(["--config", str(written(privacy=other)), "--output", str(output)]) == 2
    assert not (output / "run.json").exists()


def test_a_run_file_that_refers_to_itself_is_refused(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written()
    config.write_text("name: &a [*a]")
    assert main(["--config", str(config), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_phase_without_privacy_must_not_read_what_another_protects(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written()
    run = yaml.safe_load(config.read_text())
    run["phases"] = [{**run["phases"][0], "kind": "dapt", "private": False}, run["phases"][0]]
    config.write_text(yaml.safe_dump(run))
    assert main(["--config", str(config), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "without privacy" in capsys.readouterr().err


def test_a_finished_run_is_left_as_it_is(written: Written, tmp_path: Path) -> None:
    output = tmp_path / "out"
    prepare(written(), output)
    (output / "report.html").write_text("kept")
    assert main(["--config", str(written()), "--output", str(output)]) == 0
    assert (output / "report.html").read_text() == "kept"


def test_a_second_run_that_would_overdraw_the_data_is_refused(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(written(), tmp_path / "first")
    assert main(["--config", str(written()), "--output", str(tmp_path / "second"), "--check"]) == 2
    assert "nothing would be learned" in capsys.readouterr().err
    greedy = {"accountant": "rdp", "population": "people", "run_epsilon": 4.0}
    assert main(["--config", str(written(privacy=greedy)), "--output", str(tmp_path / "third"), "--check"]) == 2


def test_looking_whether_a_run_can_start_promises_nothing(written: Written, tmp_path: Path) -> None:
    for number in range(3):
        assert main(["--config", str(written()), "--output", str(tmp_path / f"out{number}"), "--check"]) == 0
    assert not list(tmp_path.glob("out*"))


def _progress(output: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((output / "progress.json").read_bytes())
    except OSError:
        return {"phase": "", "step": 0}
    return found


def _kill_workers_between_reservation_and_settlement(job: subprocess.Popen[bytes], output: Path) -> None:
    """Stop the workers, look whether steps are reserved and not settled, and kill them then; else let them go on.

    All of them: one that loses the other ends in good order, and settles what it used.
    """
    ledger = SqlLedger(open_engine(configured_url(Settings()), create=False))
    run_id = json.loads((output / "run.json").read_bytes())["run_id"]
    victims = below(job, "RayTrainWorker")
    while job.poll() is None:
        for victim in victims:
            victim.suspend()
        if ledger.run(run_id).unsettled:
            for victim in victims:
                victim.kill()
            return
        for victim in victims:
            victim.resume()
        time.sleep(0.02)
    pytest.fail("the run ended before its workers could be killed")


def test_a_private_run_survives_killed_workers_and_pays_for_what_was_lost(written: Written, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "train_jobs.constitutional", "--config", str(written()), "--output", str(output)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (tmp_path / "log").open("wb") as log:
        job = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _progress(output)["step"] < 6 and job.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(below(job, "RayTrainWorker")) == 2, (tmp_path / "log").read_text()[-3000:]
        _kill_workers_between_reservation_and_settlement(job, output)
        assert job.wait(timeout=PATIENCE_SECONDS) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        job.terminate()
        job.wait(timeout=60)

    report = json.loads((output / "report.json").read_bytes())
    privacy = report["privacy"]
    assert privacy["attempts"] == 2
    assert privacy["steps_unsettled"] > 0
    assert privacy["steps_settled"] + privacy["steps_unsettled"] == privacy["plan"]["steps"]
    assert 0 < report["phases"][0]["steps"] <= privacy["plan"]["steps"] - privacy["steps_unsettled"] + 4
    assert privacy["epsilon"]["rdp"] < 8.0
    assert (output / "adapter" / "adapter_model.safetensors").exists()
    assert (output / "merged" / "model.safetensors").exists()
    assert "Epsilon of this run" in (output / "MODEL_CARD.md").read_text()
    assert "not these figures" in (output / "MODEL_CARD.md").read_text().replace("\n", " ")
