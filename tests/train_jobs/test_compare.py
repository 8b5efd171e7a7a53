"""The comparison job: what it refuses beforehand, what it promises, and base and fine-tuning side by side."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation, Parent
from acgs.learning.data.records import Record
from tests import sentences
from train_jobs.compare import main

PATIENCE_SECONDS = 400
PRIVACY = {"accountant": "rdp", "population": "people"}

Written = Callable[..., Path]


def record(number: int, ending: str = ".") -> Record:
    """No two have the same question: held-out prompts must be told from those of training."""
    return sentences.record(number, ending=ending, topic=f" {number}")


def data_set(folder: Path, origin: str, **splits: Iterable[Record]) -> Path:
    digest = hashlib.sha256(origin.encode()).hexdigest()
    with DatasetWriter(folder) as writer:
        for split, records in splits.items():
            for item in records:
                writer.add(item, split)
        parent = Parent(name=origin, digest=digest)
        writer.finish(parents=[parent], origins=[digest], operations=[Operation(name="made")])
    return folder


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes data sets, a public corpus, tasks and a comparison file with changes; returns the comparison file."""
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    train, validation = range(96), range(96, 120)
    data_set(tmp_path / "data", "people", train=map(record, train), validation=map(record, validation))
    revised = {
        "train": [record(n, " gently.") for n in train],
        "validation": [record(n, " gently.") for n in validation],
    }
    data_set(tmp_path / "revised", "people", **revised)
    data_set(tmp_path / "mixed", "people", train=map(record, range(24, 120)), validation=map(record, range(24)))
    data_set(tmp_path / "benign", "public", validation=map(record, range(2000, 2004)))
    public = (record(number).contents for number in range(1000, 1200))
    (tmp_path / "public.txt").write_text("\n".join(public), encoding="utf-8")
    task = {"question": "garden herbs", "choices": ["bees", "stone wall", "rain"], "answer": 1}
    (tmp_path / "tasks.jsonl").write_text(f"{json.dumps(task)}\n" * 4, encoding="utf-8")

    def write(run: dict[str, Any] | None = None, **settings: Any) -> Path:
        phase = {
            "kind": "sft", "data": "data", "epochs": 1, "learning_rate": 5e-3, "batch_size": 12,
            "micro_batch_size": 12, "max_length": 96,
        }  # fmt: skip
        tiny = {"corpus": "public.txt", "hidden_size": 32, "layers": 2, "heads": 2, "vocabulary": 300, "context": 128}
        common = {
            "name": "test", "base_model": {"tiny": tiny}, "phases": [phase],
            "lora": {"r": 2, "alpha": 4, "dropout": 0.0},
            "evaluation": {
                "benign_prompts": "benign", "tasks": "tasks.jsonl", "max_prompts": 4, "max_new_tokens": 8,
            },
            **(run or {}),
        }  # fmt: skip
        path = tmp_path / "compare.yaml"
        path.write_text(yaml.safe_dump({"run": common, **settings}), encoding="utf-8")
        return path

    return write


def check(config: Path, output: Path, *more: str) -> int:
    return main(["--config", str(config), "--output", str(output), "--check", *more])


@pytest.mark.parametrize(
    ("run", "settings", "message"),
    [
        ({"lora": {"rank": 2}}, {}, "lora.rank"),
        ({"evaluation": {"tasks": "public.txt"}}, {}, "public.txt, row 1: prompt"),
        ({"evaluation": {"benign_prompts": "nowhere"}}, {}, "nowhere"),
        ({"base_model": {"path": "nowhere"}, "privacy": PRIVACY}, {"epsilons": [4]}, "nowhere"),
        ({}, {"revised_data": "nowhere"}, "nowhere"),
        ({}, {"revised_data": "mixed"}, "holds 24 of the held-out prompts"),
        ({"privacy": PRIVACY}, {"epsilons": [4, 1]}, "dp-4, dp-1 would spend epsilon"),
        ({"privacy": {**PRIVACY, "target_epsilon": 4}}, {"epsilons": [4, 1]}, "budget of 4 may be planned"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence_before_anything_starts(
    written: Written,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: dict[str, Any],
    settings: dict[str, Any],
    message: str,
) -> None:
    config = written(run, **settings)
    assert main(["--config", str(config), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("acgs: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_checking_says_what_would_run_and_be_spent_and_promises_nothing(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"revised_data": "revised", "epsilons": [1, 4]}
    config = written({"privacy": {**PRIVACY, "target_epsilon": 5}}, **settings)
    for _ in range(2):
        assert check(config, tmp_path / "out", "--json") == 0
        plan = json.loads(capsys.readouterr().out)
        assert [item["name"] for item in plan["variants"]] == ["sft", "revised", "dp-4", "dp-1"]
        assert [item["epsilon"] for item in plan["variants"]] == [None, None, 4, 1]
        assert plan["variants"][2]["noise_multiplier"] < plan["variants"][3]["noise_multiplier"]
        assert 0.95 * 4 < plan["epsilon_together"] <= 0.95 * 5
        assert "dp-4, dp-1 alone: sft, revised learned without noise" in plan["coverage"]
    assert not (tmp_path / "out").exists()
    assert check(config, tmp_path / "out") == 0
    assert "dp-4" in capsys.readouterr().out


def test_all_budgets_are_promised_before_anything_is_trained_and_kept_when_resumed(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from train_jobs.compare import look, open_runs

    config = written({"privacy": {**PRIVACY, "target_epsilon": 5}}, epsilons=[4, 1])
    first = look(config, tmp_path / "out")
    open_runs(first, tmp_path / "out")
    again = look(config, tmp_path / "out")
    for name in ("dp-4", "dp-1"):
        assert again.runs[name].run_id == json.loads((tmp_path / "out" / name / "run.json").read_bytes())["run_id"]
        assert again.runs[name].plan == first.runs[name].plan
    assert again.spending.together == pytest.approx(first.spending.together)
    assert look(tmp_path / "out" / "compare.yaml", tmp_path / "out").digest == first.digest
    assert check(config, tmp_path / "elsewhere") == 2
    assert "spent or promised already" in capsys.readouterr().err


def test_a_data_set_that_only_private_variants_read_is_covered_whole(written: Written, tmp_path: Path) -> None:
    from train_jobs.compare import look

    phases = yaml.safe_load(written().read_text())["run"]["phases"]
    public = data_set(tmp_path / "chats", "public", train=map(record, range(3000, 3048)), validation=[record(3050)])
    run = {"privacy": PRIVACY, "phases": [{**phases[0], "data": str(public)}]}
    prospect = look(written(run, epsilons=[4], private={"data": "data"}), tmp_path / "out")
    assert "alone" not in prospect.coverage


def test_base_and_fine_tuning_are_measured_side_by_side_and_kept(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    words = ["--config", str(written()), "--output", str(output), "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "train_jobs.compare", *words],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    result = json.loads(done.stdout)
    assert result == json.loads((output / "comparison.json").read_bytes())
    base, tuned = result["columns"]
    assert (base["name"], tuned["name"]) == ("base", "sft")
    assert tuned["figures"]["perplexity"] < base["figures"]["perplexity"]
    for column in (base, tuned):
        assert column["figures"]["tasks"]["accuracy"]["n"] == 4
        assert column["figures"]["compliance"]["answers"] == 4
        assert column["figures"]["over_refusal"]["refused"]["n"] == 4
        assert column["figures"]["peak_memory"]["resident"] > 50 << 20
    assert tuned["training"]["tokens_per_second"] > 0
    assert tuned["training"]["epsilon"] is None
    assert "No variant was trained with differential privacy." in (output / "comparison.html").read_text()

    # Finished variants are kept: the same command compares again without training.
    before = (output / "sft" / "report.json").stat().st_mtime_ns
    assert main(words) == 0
    assert (output / "sft" / "report.json").stat().st_mtime_ns == before
    assert json.loads(capsys.readouterr().out) == result
