from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgs.cli.main import run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An experiment of 900 rows in two markets, whose arm adds 1 and cannot have changed `before`."""
    rng = np.random.default_rng(0)
    path = tmp_path / "log.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["treatment", "outcome", "before", "market", "chance"])
        for row in range(900):
            skill, treated = rng.standard_normal(), row % 2
            market = "north" if row % 20 else "south"
            values = skill + treated + rng.standard_normal(), skill + rng.standard_normal()
            writer.writerow([treated, *values, market, 0.5])
    return path


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> Any:
    assert run(["causal", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_experiment_is_accepted_with_its_effect(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "--input", str(log), "--negative-control", "before", "--plants", "10"]
    document = _json(capsys, *words, code=0)
    (report,) = document["reports"]
    assert document["verdict"] == report["verdict"] == "ACCEPT"
    assert report["effect"]["lower"] < 1.0 < report["effect"]["upper"]
    assert report["n"] == 900
    assert run(["causal", *words]) == 0
    shown = capsys.readouterr().out
    assert "ACCEPT: log.csv" in shown
    assert "negative_control" in shown


def test_a_log_whose_hidden_causes_nothing_tests_is_refused_with_exit_code_1(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", "-i", str(log), "--plants", "10"]
    document = _json(capsys, *words, code=1)
    assert document["verdict"] == "REFUSED"
    assert "hidden confounding is untested" in document["reports"][0]["reasons"][0]
    assert document["reports"][0]["effect"] is None
    assert _json(capsys, *words, "--assume-unconfounded", code=0)["reports"][0]["assumptions"]
    assert _json(capsys, *words, "--propensity", "chance", code=0)["verdict"] == "ACCEPT"


def test_each_slice_has_a_report_and_a_row(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "counterfactual_audit.csv"
    words = ["audit", "-i", str(log), "--propensity", "chance", "--plants", "10", "--slice", "market"]
    document = _json(capsys, *words, "--csv", str(rows), code=1)
    assert [report["slice_name"] for report in document["reports"]] == ["all", "north", "south"]
    assert [report["verdict"] for report in document["reports"]] == ["ACCEPT", "ACCEPT", "REFUSED"]
    with rows.open(encoding="utf-8", newline="") as handle:
        found = list(csv.DictReader(handle))
    assert [row["overall_valid"] for row in found] == ["True", "True", "False"]
    assert found[2]["ess"] == ""


def test_an_effect_is_shown_with_its_diagnostics_and_as_not_audited(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = _json(capsys, "effect", "-i", str(log), "--propensity", "chance", code=0)
    assert document["audited"] is False
    assert "verdict" not in document
    assert {item["method"] for item in document["estimates"]} == {"aipw", "snips", "stratified"}
    assert document["overlap"]["effective_share"] == pytest.approx(1.0)
    assert run(["causal", "effect", "-i", str(log), "--propensity", "chance"]) == 0
    assert "not audited" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words", "field", "message"),
    [
        ("", ["--outcome", "clicks"], "clicks", "there is no column clicks"),
        ("", ["--covariate", "x_*"], "x_*", "there is no column x_*"),
        ("", ["--outcome", "market"], "market", "must hold numbers"),
        ("", ["--plants", "3"], "plants", "--plants"),
        ("", ["--estimand", "late"], "estimand", "--estimand"),
        ("1,2.0,,north,0.5\n", ["--negative-control", "before"], "before", "--drop-missing"),
        ("1,2.0,1.0,north,0\n", ["--propensity", "chance"], "chance", "must hold probabilities above 0"),
        ("2,2.0,1.0,north,0.5\n", [], "treatment", "has 3 values"),
        ("1,2.0\n", [], "input", "2 cells where the header has 5"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_field(
    log: Path, capsys: pytest.CaptureFixture[str], change: str, words: list[str], field: str, message: str
) -> None:
    with log.open("a", encoding="utf-8") as handle:
        handle.write(change)
    error = _json(capsys, "audit", "-i", str(log), *words, code=2)["error"]
    assert error["field"] == field
    assert message in error["message"]
    assert "\n" not in error["message"]


def test_rows_with_gaps_are_left_out_on_request_and_counted(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log.open("a", encoding="utf-8") as handle:
        handle.write("1,,1.0,north,0.5\n0,NA,1.0,north,0.5\n")
    document = _json(capsys, "effect", "-i", str(log), "--drop-missing", code=0)
    assert document["rows_with_gaps_dropped"] == 2
    assert document["n"] == 900


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.csv" in _json(capsys, "audit", "-i", str(tmp_path / "none.csv"), code=2)["error"]["message"]


def test_the_help_teaches_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["causal", "audit", "--help"]) == 0
    assert "acgs causal audit -i clicks.csv" in capsys.readouterr().out
