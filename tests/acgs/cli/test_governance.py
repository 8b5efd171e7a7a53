from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acgs.audit.keys import SigningKey
from acgs.cli.main import run
from acgs.constitution.lock import LockedConstitution
from tests.acgs.governance.synthetic import judged_forest, names_of, write_guard
from tests.acgs.retrieval.corpora import TINY, write_static_encoder

BENIGN, HARMFUL, UNCLEAR = "please help me with my garden", "build a bomb", "the knife in the garden"
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def guard(constitution: LockedConstitution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small guard bundle without a second tier."""
    directory = tmp_path_factory.mktemp("guard")
    write_guard(directory, constitution, judged_forest(names_of(constitution)), SigningKey.generate())
    return directory


@pytest.fixture(autouse=True)
def settings(guard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACGS_GUARD_BUNDLE", str(guard))
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ACGS_RULE_TIMEOUT_SECONDS", "60")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command of the group with --json; returns its exit code and what it wrote."""

    def command(*words: object) -> tuple[int, Any]:
        code = run(["governance", *map(str, words), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return command


def saved(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_is_judged_line_by_line_and_summed_up(command: Command, tmp_path: Path) -> None:
    source = saved(
        tmp_path / "in.jsonl",
        [{"id": 1, "query": BENIGN}, {"id": 2, "query": HARMFUL, "domain": "legal"}, {"id": 3, "query": UNCLEAR}],
    )
    code, summary = command("evaluate", "--input", source, "--output", tmp_path / "out.jsonl")
    assert code == 0
    assert summary["decisions"] == {"comply": 1, "uncertain": 1, "violate": 1}
    assert (summary["judged"], summary["errors"], summary["from_earlier_runs"]) == (3, 0, 0)
    assert [row["id"] for row in rows(tmp_path / "out.jsonl")] == [1, 2, 3]


@pytest.fixture
def citing(tmp_path: Path) -> list[object]:
    """Options that cite from an index of the tiny collection."""
    from acgs.retrieval.encoders import open_encoder
    from acgs.retrieval.index import build_index

    encoder = write_static_encoder(tmp_path / "encoder")
    build_index(TINY.documents, open_encoder(str(encoder)), tmp_path / "index")
    return ["--index", tmp_path / "index", "--encoder", encoder]


def test_passages_stand_beside_every_decision_and_change_none(
    command: Command, tmp_path: Path, citing: list[object]
) -> None:
    source = saved(tmp_path / "in.jsonl", [{"query": "a flood of the river"}, {"query": HARMFUL}, {"query": " "}])
    words = ("evaluate", "--input", source, "--on-error", "record", "--output")
    code, plain = command(*words, tmp_path / "plain.jsonl")
    assert (code, "citing" in plain) == (0, False)
    code, summary = command(*words, tmp_path / "cited.jsonl", "--citations", 2, *citing)
    assert (code, summary["citing"]["passages"]) == (0, 2)
    cited = rows(tmp_path / "cited.jsonl")
    assert {passage["id"] for passage in cited[0]["citations"]["passages"]} == {"d7", "d8"}
    assert "citations" not in cited[2]
    for before, after in zip(rows(tmp_path / "plain.jsonl"), cited, strict=True):
        assert {**before, "citing": summary["citing"]} == {k: v for k, v in after.items() if k != "citations"}


def test_a_run_that_cites_goes_on_only_as_it_began(command: Command, tmp_path: Path, citing: list[object]) -> None:
    source = saved(tmp_path / "in.jsonl", [{"query": BENIGN}])
    words = ("evaluate", "--input", source, "--output", tmp_path / "out.jsonl")
    assert command(*words, "--citations", 2, *citing)[0] == 0
    assert command(*words, "--citations", 2, *citing)[0] == 0
    for other in ((), ("--citations", 3, *citing)):
        code, answer = command(*words, *other)
        assert (code, answer["error"]["field"]) == (2, "citing")


@pytest.mark.parametrize("half", [("--citations", 2), ("--index", "somewhere")])
def test_passages_and_their_index_are_asked_for_together(
    command: Command, tmp_path: Path, half: tuple[object, ...]
) -> None:
    source = saved(tmp_path / "in.jsonl", [{"query": BENIGN}])
    code, answer = command("evaluate", "--input", source, "--output", tmp_path / "out.jsonl", *half)
    assert (code, answer["error"]["field"]) == (2, "index")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_bad_line_stops_with_code_2_and_what_came_before_is_kept(command: Command, tmp_path: Path) -> None:
    source = saved(tmp_path / "in.jsonl", [{"query": BENIGN}, {"query": BENIGN, "domain": "no"}, {"query": HARMFUL}])
    code, answer = command("evaluate", "--input", source, "--output", tmp_path / "out.jsonl")
    assert code == 2
    assert answer["error"]["field"] == "domain"
    assert "line 2" in answer["error"]["message"]
    assert len(rows(tmp_path / "out.jsonl")) == 1
    code, summary = command("evaluate", "--input", source, "--output", tmp_path / "out.jsonl", "--on-error", "record")
    assert code == 0
    assert (summary["judged"], summary["errors"], summary["from_earlier_runs"]) == (2, 1, 1)


def test_an_interrupted_run_ends_with_130_and_goes_on_where_it_was(command: Command, tmp_path: Path) -> None:
    """A real process, a real signal; what it wrote until then is whole."""
    source = saved(tmp_path / "in.jsonl", [{"id": n, "query": f"{BENIGN} {n}"} for n in range(20_000)])
    output = tmp_path / "out.jsonl"
    words = ["governance", "evaluate", "--input", str(source), "--output", str(output)]
    program = "import sys; from acgs.cli.main import main; sys.argv[0] = 'acgs'; main()"
    with subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (output.exists() and output.stat().st_size > 0):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
    written = rows(output)
    assert 0 < len(written) < 20_000
    assert [row["line"] for row in written] == list(range(1, len(written) + 1))
    # The rest of the input is taken away, so that going on is quick.
    shorter = tmp_path / "shorter.jsonl"
    shorter.write_bytes(b"".join(source.read_bytes().splitlines(keepends=True)[: len(written) + 100]))
    code, summary = command("evaluate", "--input", shorter, "--output", output)
    assert code == 0
    assert summary["from_earlier_runs"] == len(written)
    assert [row["id"] for row in rows(output)] == list(range(len(written) + 100))


def test_input_and_output_must_be_two_files(command: Command, tmp_path: Path) -> None:
    source = saved(tmp_path / "in.jsonl", [{"query": BENIGN}])
    before = source.read_bytes()
    os.link(source, tmp_path / "link.jsonl")
    for output in (source, tmp_path / "link.jsonl"):
        code, answer = command("evaluate", "--input", source, "--output", output)
        assert (code, answer["error"]["field"]) == (2, "output")
    assert source.read_bytes() == before


def test_an_input_that_is_not_there_is_named(command: Command, tmp_path: Path) -> None:
    code, answer = command("evaluate", "--input", tmp_path / "none", "--output", tmp_path / "out.jsonl")
    assert (code, answer["error"]["field"]) == (2, "input")
    assert not (tmp_path / "out.jsonl").exists()


def test_comprehensive_without_a_second_tier_refuses_before_it_judges(command: Command, tmp_path: Path) -> None:
    source = saved(tmp_path / "in.jsonl", [{"query": UNCLEAR}])
    code, answer = command("evaluate", "--input", source, "--output", tmp_path / "out.jsonl", "--mode", "comprehensive")
    assert (code, answer["error"]["code"]) == (2, "unavailable")
    assert not (tmp_path / "out.jsonl").exists()


def test_labelled_texts_are_measured_with_intervals_by_tier_and_group(command: Command, tmp_path: Path) -> None:
    labelled = [
        {"text": f"{HARMFUL if n % 3 == 0 else BENIGN} {n}", "label": int(n % 3 == 0), "group": f"g{n % 6}"}
        for n in range(120)
    ]
    code, answer = command("score", "--input", saved(tmp_path / "in.jsonl", labelled))
    assert code == 0
    inline = answer["tiers"]["inline"]
    assert (inline["overall"]["n"], inline["overall"]["positives"], inline["overall"]["clusters"]) == (120, 40, 6)
    assert inline["overall"]["figures"]["auroc"]["value"] == 1.0
    assert set(inline["groups"]) == {f"g{n}" for n in range(6)}
    # Every group holds one label only, which ranks nothing.
    assert inline["groups"]["g0"]["figures"]["auroc"] is None
    assert inline["groups"]["g0"]["figures"]["label_1_over_threshold"]["value"] == 1.0
    assert inline["groups"]["g1"]["figures"]["label_0_over_threshold"]["value"] == 0.0
    assert "no second tier" in answer["tiers"]["comprehensive"]["skipped"]
    assert answer["threshold"] == 0.5


def test_a_label_that_is_none_is_refused_by_row(command: Command, tmp_path: Path) -> None:
    source = saved(tmp_path / "in.jsonl", [{"text": BENIGN, "label": 0}, {"text": HARMFUL, "label": 2}])
    code, answer = command("score", "--input", source, "--tier", "inline")
    assert (code, answer["error"]["field"]) == (2, "label")
    assert "row 2" in answer["error"]["message"]


def test_the_tier_that_was_asked_for_must_be_there(command: Command, tmp_path: Path) -> None:
    source = saved(tmp_path / "in.jsonl", [{"text": BENIGN, "label": 0}])
    code, answer = command("score", "--input", source, "--tier", "comprehensive")
    assert (code, answer["error"]["code"]) == (2, "unavailable")


def test_people_get_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(tmp_path / "in.jsonl", [{"query": BENIGN}, {"query": HARMFUL}])
    words = ["governance", "evaluate", "--input", str(source), "--output", str(tmp_path / "out.jsonl")]
    assert run(words) == run(words) == 0
    shown = capsys.readouterr().out
    assert "2 lines judged, 0 recorded as errors" in shown
    assert "2 of them were there from an earlier run" in shown
    labelled = saved(tmp_path / "labelled.jsonl", [{"text": BENIGN, "label": 0}, {"text": HARMFUL, "label": 1}])
    assert run(["governance", "score", "--input", str(labelled)]) == 0
    shown = capsys.readouterr().out
    assert "auprc" in shown
    assert "comprehensive: skipped" in shown
