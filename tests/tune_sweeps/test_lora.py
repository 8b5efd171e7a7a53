"""The LoRA sweep: what it refuses and promises beforehand, and a small one on private data from start to end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.privacy.ledger import population_account
from acgs.privacy.sql_ledger import SqlLedger
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from tests.sentences import record
from tune_sweeps.lora import main, prepare

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="the extra 'train' is not installed")

PRIVATE = hashlib.sha256(b"people").hexdigest()
PUBLIC = hashlib.sha256(b"public").hexdigest()
PATIENCE_SECONDS = 600

Written = Callable[..., Path]


def dataset(folder: Path, origin: str, first: int) -> None:
    with DatasetWriter(folder) as writer:
        for number in range(60):
            writer.add(
                record(first + number, user=f"u{(first + number) % 24}"), "train" if number < 48 else "validation"
            )
        parent = Parent(name="made", digest=origin)
        writer.finish(parents=[parent], origins=[origin], operations=[Operation(name="made")])


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes private and public data, a run file and a sweep file with changes; returns the sweep file."""
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    dataset(tmp_path / "data", PRIVATE, 0)
    dataset(tmp_path / "public", PUBLIC, 1000)
    dataset(tmp_path / "derived", PRIVATE, 2000)
    texts = (record(number).contents for number in range(3000, 3150))
    (tmp_path / "public.txt").write_text("\n".join(texts), encoding="utf-8")

    def write(**changes: Any) -> Path:
        phase = {
            "kind": "sft", "data": "data", "epochs": 2, "batch_size": 12, "micro_batch_size": 12, "max_length": 96,
            "private": True, **changes.pop("phase", {}),
        }  # fmt: skip
        tiny = {"corpus": "public.txt", "hidden_size": 32, "layers": 2, "heads": 2, "vocabulary": 300, "context": 128}
        run = {
            "name": "test", "base_model": {"tiny": tiny}, "phases": [phase],
            "lora": {"r": 2, "alpha": 4, "dropout": 0.0},
            "privacy": {"accountant": "rdp", "population": "people", "block": 2}, **changes.pop("run", {}),
        }  # fmt: skip
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
        space = {
            "rank": [1, 2], "learning_rate": {"low": 1e-4, "high": 1e-1}, "noise_multiplier": {"low": 2, "high": 3},
            "max_grad_norm": [0.5, 1.0], **changes.pop("space", {}),
        }  # fmt: skip
        sweep = {
            "name": "sweep", "run": "run.yaml", "trials": 3, "space": space, "every_steps": 2, "grace_steps": 2,
            "reduction_factor": 2, "validation": "public", **changes,
        }  # fmt: skip
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in sweep.items() if v is not None}), encoding="utf-8")
        return path

    return write


def ledger() -> SqlLedger:
    return SqlLedger(open_engine(configured_url(Settings())))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": None}, "private rows"),
        ({"validation": "derived"}, "same data as the private phase"),
        ({"tuning_data": "derived"}, "same data as the private phase"),
        ({"validation": "nowhere"}, "nowhere"),
        ({"run": {"privacy": {"accountant": "rdp", "target_epsilon": 0}}}, "target_epsilon"),
        ({"run": {"base_model": {"tiny": {"corpus": "data/train.jsonl"}}}}, "leaks"),
        ({"phase": {"batch_size": 500}}, "expected_batch"),
        ({"phase": {"max_length": 4}}, "more than 4"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_one_sentence(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert main(["--config", str(written(**changes)), "--output", str(tmp_path / "out"), "--check"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("acgs: ")
    assert error.count("\n") == 1


def test_a_sweep_that_would_overdraw_as_a_whole_is_refused_and_nothing_is_promised(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy = written(trials=40, space={"noise_multiplier": {"low": 1.0, "high": 1.2}})
    assert main(["--config", str(greedy), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "40 trials would bring" in error
    assert "95 % of its budget of 8" in error
    assert ledger().account(PRIVATE) is None
    assert not (tmp_path / "out").exists()


def test_a_sweep_by_user_counts_users_and_charges_their_population(written: Written, tmp_path: Path) -> None:
    privacy = {"accountant": "rdp", "population": "people", "unit": "user", "contribution_cap": 1, "block": 2}
    wide = {"noise_multiplier": {"low": 4, "high": 5}}
    prepared = prepare(written(run={"privacy": privacy}, space=wide, phase={"batch_size": 6}), tmp_path / "out")
    assert {plan.population for plan in prepared.plans} == {24}
    assert {plan.contribution_cap for plan in prepared.plans} == {1}
    assert ledger().account(population_account("people")) is not None


def test_every_trial_is_promised_its_steps_once_before_any_starts(written: Written, tmp_path: Path) -> None:
    for _ in range(2):
        prepared = prepare(written(), tmp_path / "out")
    account = ledger().account(PRIVATE)
    assert account is not None
    assert [run.run_id for run in account.runs] == prepared.run_ids
    assert all(run.steps_left == prepared.steps for run in account.runs)
    assert {run.plan.noise_multiplier for run in account.runs} == {t.noise_multiplier for t in prepared.trials}


def test_tuning_on_public_data_is_not_charged(written: Written, tmp_path: Path) -> None:
    prepared = prepare(written(tuning_data="public", validation=None), tmp_path / "out")
    assert prepared.run_ids is None
    assert prepared.validation == prepared.data == tmp_path / "public"
    assert all(plan.noise_multiplier >= 2 for plan in prepared.plans)


def test_looking_whether_a_sweep_can_start_promises_nothing(written: Written, tmp_path: Path) -> None:
    assert main(["--config", str(written()), "--output", str(tmp_path / "out"), "--check"]) == 0
    assert ledger().account(PRIVATE) is None
    assert not (tmp_path / "out").exists()


def test_an_output_belongs_to_one_sweep(written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(written(), tmp_path / "out")
    assert main(["--config", str(written(seed=9)), "--output", str(tmp_path / "out"), "--check"]) == 2
    assert "another sweep" in capsys.readouterr().err


def test_a_private_sweep_charges_what_its_trials_took_and_names_the_best(written: Written, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "tune_sweeps.lora", "--config", str(written()), "--output", str(output)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    rows = [json.loads(line) for line in (output / "trials.jsonl").read_text().splitlines()]
    assert [row["trial"]["number"] for row in rows] == [0, 1, 2]
    finished = [row for row in rows if row["ending"] == "finished"]
    assert finished
    assert {row["ending"] for row in rows} <= {"finished", "stopped early by ASHA"}
    assert all(row["steps"] == 8 for row in finished)

    account = ledger().account(PRIVATE)
    assert account is not None
    spent = {run.run_id: run for run in account.runs}
    for row in rows:
        run = spent[row["run_id"]]
        assert run.closed
        assert row["steps"] <= run.steps_spent <= 8
        assert row["epsilon"] > 0

    best = min(finished, key=lambda row: row["perplexity"])
    run = yaml.safe_load((output / "best.yaml").read_text())
    assert run["lora"]["r"] == best["trial"]["rank"]
    assert run["phases"][0]["learning_rate"] == best["trial"]["learning_rate"]
    assert main(["--config", str(written()), "--output", str(output)]) == 0
