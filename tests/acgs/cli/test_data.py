from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def _run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    capsys.readouterr()
    code = run(["data", *map(str, words), "--json"])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == 0, told
    return told


def _responses(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    _generate(folder / "s.jsonl", count=300)
    _run(capsys, "import", folder / "s.jsonl", "--format", "scenario-responses", "--output", folder / "set")
    return folder / "set"


def test_import_inspect_filter_and_revise_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    data = _responses(tmp_path, capsys)
    inspected = _run(capsys, "inspect", data)
    rows = inspected["counts"]["rows"]
    assert inspected["digests"] == "match"
    filtered = _run(capsys, "filter", data, "--output", tmp_path / "clean", "--judged", "response")
    rejects = (tmp_path / "clean" / "rejects.jsonl").read_text().splitlines()
    assert filtered["rows"] + filtered["rejected"] == rows
    assert len(rejects) == filtered["rejected"] > 0
    revised = _run(capsys, "revise", data, "--output", tmp_path / "out")
    assert revised == _run(capsys, "revise", data, "--output", tmp_path / "out")
    report = revised["report"]
    assert report["revised_rows"]["after"]["value"] > report["revised_rows"]["before"]["value"]
    assert report["content_kept"] > 0.5
    for name in ("sft", "preferences"):
        manifest = _run(capsys, "inspect", tmp_path / "out" / name)["manifest"]
        assert manifest["origins"] == inspected["manifest"]["origins"]
    assert run(["data", "revise", str(data), "--output", str(tmp_path / "out")]) == 0
    assert "Compliance" in capsys.readouterr().out


def test_a_split_parts_no_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"question {i}", "response": f"answer {i}", "user": i % 12} for i in range(120)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = _run(capsys, "import", tmp_path / "rows.jsonl", "--output", tmp_path / "set", "--split", "0.5/0.25/0.25")
    assert told["files"] == {"train.jsonl": 60, "validation.jsonl": 30, "test.jsonl": 30}
    users = [
        {json.loads(line)["user"] for line in (tmp_path / "set" / name).read_text().splitlines()}
        for name in told["files"]
    ]
    assert sum(map(len, users)) == 12 == len(set.union(*users))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["import", "none.jsonl", "--output", "x"], "does not exist"),
        (["import", "rows.jsonl", "--output", "x", "--prompt-column", "q"], "'q' is missing"),
        (["import", "rows.jsonl", "--output", "x", "--split", "0.5/0.6"], "add up to 1"),
        (["import", "empty.jsonl", "--output", "x"], "no rows"),
        (["import", "rows.jsonl", "--output", "taken"], "exists"),
        (["filter", "taken", "--output", "x"], "no data set"),
        (["revise", "taken", "--output", "x"], "no data set"),
        (["inspect", "taken"], "no data set"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    Path("empty.jsonl").write_text("")
    Path("taken").mkdir()
    (Path("taken") / "file").write_text("mine")
    before = sorted(Path().rglob("*"))
    assert run(["data", *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


def test_a_changed_data_set_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    _run(capsys, "import", tmp_path / "rows.jsonl", "--output", tmp_path / "set")
    with (tmp_path / "set" / "data.jsonl").open("a") as handle:
        handle.write("{}\n")
    assert run(["data", "inspect", str(tmp_path / "set"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "integrity"


def test_a_data_set_that_is_imported_again_keeps_its_origins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    _run(capsys, "import", tmp_path / "rows.jsonl", "--output", tmp_path / "one")
    again = ("--format", "records", "--split", "0.5/0.5", "--output", tmp_path / "two")
    _run(capsys, "import", tmp_path / "one", *again)
    one, two = (_run(capsys, "inspect", tmp_path / name)["manifest"] for name in ("one", "two"))
    assert one["id"] != two["id"]
    assert one["origins"] == two["origins"]
    assert [step["name"] for step in two["operations"]] == ["import", "import", "split"]
