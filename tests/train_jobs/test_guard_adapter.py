from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from train_jobs.guard_adapter import main

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="the extra 'train' is not installed")

SETTINGS = {"sets": ["surge_toxicity"], "accountant": "rdp", "private": {"steps": 4, "expected_batch": 16}}


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "surge_toxicity" / "toxicity_en.csv"
    path.parent.mkdir()
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "is_toxic"])
        writer.writerows((f"text {i}", "Toxic" if i % 2 else "Not Toxic") for i in range(80))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    return ["--data", str(tmp_path), "--output", str(tmp_path / "out"), "--config", str(tmp_path / "run.yaml")]


def test_looking_whether_a_run_can_start_writes_and_promises_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main([*arguments, "--check"]) == 0
    assert "4 steps, noise multiplier" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"private": {"expected_batch": 500}}, "expected_batch"),
        ({"private": {"delta": 0.5, "expected_batch": 16}}, "delta"),
        ({"private": {"target_epsilon": 0}}, "private.target_epsilon"),
        ({"sets": ["weather"]}, "unknown set 'weather'"),
        ({"sets": ["hatecheck"]}, "cannot load 'hatecheck'"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**SETTINGS, **changes}), encoding="utf-8")
    assert main([*arguments, "--check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("acgs: ")
    assert message in error
    assert error.count("\n") == 1


def test_options_change_the_run_file(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--check", "--epsilon", "8"]) == 0
    generous = capsys.readouterr().out
    assert main([*arguments, "--check", "--epsilon", "0.5"]) == 0
    assert float(capsys.readouterr().out.split()[-1]) > 2 * float(generous.split()[-1])
