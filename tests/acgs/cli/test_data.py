from __future__ import annotations

import json
from pathlib import Path

import pytest

from acgs.cli import data
from acgs.cli.main import run
from acgs.constitution.lock import LockedConstitution
from acgs.governance.scenarios.generator import generate
from acgs.governance.scenarios.scenario_file import read_scenarios


@pytest.fixture(autouse=True)
def _shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACGS_CONSTITUTION", raising=False)


def _generate(path: Path, *more: str, count: int = 200, seed: int = 7) -> int:
    return run(["data", "generate", "--count", str(count), "--seed", str(seed), "--output", str(path), *more])


def test_the_file_holds_what_was_asked_for(
    tmp_path: Path, constitution: LockedConstitution, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.jsonl"
    assert _generate(path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"output": str(path), "count": 200, "seed": 7, "constitution": constitution.digest}
    assert list(read_scenarios(path)) == list(generate(constitution.document, 200, 7))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert _generate(tmp_path / name, seed=seed) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_inspect_counts_what_generate_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.jsonl"
    _generate(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]))
    capsys.readouterr()
    assert run(["data", "inspect", str(path), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["total"] == sum(counts["by_domain"].values()) == sum(counts["by_verdict"].values()) == 201
    assert counts["duplicates"] >= 1
    assert run(["data", "inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "201" in shown
    assert "human_dignity" in shown


def test_an_interrupt_leaves_no_half_written_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> object:
        yield from generate(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "generate_scenarios", interrupted)
    assert _generate(tmp_path / "s.jsonl") == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "not json\n", '{"id": "x"}\n'])
def test_a_file_that_holds_no_scenarios_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(content)
    assert run(["data", "inspect", str(path), "--json"]) == 2
    assert "s.jsonl" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_count_of_nothing_and_a_folder_as_output_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _generate(tmp_path / "s.jsonl", count=0) == 2
    assert _generate(tmp_path) == 2
    assert "folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
