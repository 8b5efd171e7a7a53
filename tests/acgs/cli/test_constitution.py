from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from acgs.cli.main import run
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import DOCUMENT_NAME, FIXTURES_NAME, LOCK_NAME, shipped_directory

Json = Callable[..., tuple[int, Any]]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACGS_CONSTITUTION", "ACGS_GUARD_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "mine"
    shutil.copytree(shipped_directory(), target)
    return target


@pytest.fixture
def json_of(capsys: pytest.CaptureFixture[str]) -> Json:
    """Run a constitution command with --json; exit code and the object it wrote."""

    def ask(*arguments: object) -> tuple[int, Any]:
        code = run(["constitution", *map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return ask


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / DOCUMENT_NAME
    raw = yaml.safe_load(path.read_text())
    change(raw)
    path.write_text(yaml.safe_dump(raw, sort_keys=False))


def _contradict(raw: dict[str, Any]) -> None:
    raw["rules"][0]["when"].append({"field": "context.audit_logging", "op": "eq", "value": True})


def test_show_names_the_constitution_in_force(
    json_of: Json, constitution: LockedConstitution, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = json_of("show")
    assert code == 0
    assert (shown["label"], shown["digest"]) == (constitution.label, constitution.digest)
    assert len(shown["rules"]) == len(constitution.document.rules)
    assert run(["constitution", "show"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in (constitution.digest, "human_dignity", "LEG-05", "healthcare"))


def test_show_refuses_what_was_not_locked(json_of: Json, folder: Path) -> None:
    edit(folder, lambda raw: raw.update(version="1.0.1"))
    code, shown = json_of("show", "--path", folder)
    assert (code, shown["error"]["code"]) == (2, "constitution_mismatch")


def test_the_environment_names_the_constitution(json_of: Json, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(folder, lambda raw: raw.update(name="another"))
    monkeypatch.setenv("ACGS_CONSTITUTION", str(folder))
    assert json_of("lock", "--accept")[0] == 0
    assert json_of("show")[1]["name"] == "another"


def test_lint_passes_the_shipped_constitution(json_of: Json) -> None:
    assert json_of("lint")[0] == 0
    assert json_of("lint")[1]["findings"] == []


def test_lint_exits_1_on_an_error_and_0_on_a_warning(
    json_of: Json, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda raw: raw["principles"][0].update(weight=1000.0))
    code, shown = json_of("lint", "--path", folder)
    assert (code, [finding["level"] for finding in shown["findings"]]) == (0, ["warning"])
    edit(folder, _contradict)
    code, shown = json_of("lint", "--path", folder)
    assert (code, shown["passes"]) == (1, False)
    assert run(["constitution", "lint", "--path", str(folder)]) == 1
    assert "1 errors, 1 warnings" in capsys.readouterr().out


def test_lint_names_rego_that_does_not_compile(json_of: Json, folder: Path) -> None:
    (folder / "extra.rego").write_text("package acgs.rules.general\nviolations contains {")
    edit(folder, lambda raw: raw.update(rego=[{"name": "extra", "scope": "general", "file": "extra.rego"}]))
    code, shown = json_of("lint", "--path", folder)
    assert code == 1
    assert "engines.rego" in [finding["where"] for finding in shown["findings"] if finding["level"] == "error"]


def test_hand_written_rego_is_linted_with_a_warning_for_the_engines_that_cannot_run_it(
    json_of: Json, folder: Path
) -> None:
    module = 'package acgs.rules.general\nimport rego.v1\nviolations contains "CON-01" if input.context.extra == true'
    (folder / "extra.rego").write_text(module)
    edit(folder, lambda raw: raw.update(rego=[{"name": "extra", "scope": "general", "file": "extra.rego"}]))
    code, shown = json_of("lint", "--path", folder)
    assert code == 0
    assert "engines.cedar" in [finding["where"] for finding in shown["findings"]]
    assert {finding["level"] for finding in shown["findings"]} == {"warning"}


def test_lint_finds_a_threshold_that_cedar_cannot_hold(json_of: Json, folder: Path) -> None:
    edit(folder, lambda raw: raw["rules"][-1]["when"].append(
        {"field": "input_data.fine", "op": "gt", "value": 0.000001}))  # fmt: skip
    code, shown = json_of("lint", "--path", folder)
    assert code == 1
    assert "engines.cedar" in [finding["where"] for finding in shown["findings"]]


def test_lock_changes_nothing_unless_told_to(json_of: Json, folder: Path) -> None:
    lock = folder / LOCK_NAME
    before = lock.read_bytes()
    assert json_of("lock", "--path", folder) == (0, json.loads(before))
    assert lock.read_bytes() == before
    edit(folder, lambda raw: raw.update(version="1.0.1"))
    for arguments in ((), ("--label", "0123456789abcdef")):
        code, shown = json_of("lock", "--path", folder, *arguments)
        assert (code, shown["error"]["code"]) == (2, "constitution_mismatch")
        assert "--accept" in shown["error"]["message"]
    assert lock.read_bytes() == before


def test_an_accepted_lock_puts_the_draft_in_force(json_of: Json, folder: Path) -> None:
    edit(folder, lambda raw: raw.update(version="1.0.1"))
    code, lock = json_of("lock", "--path", folder, "--accept")
    assert (code, lock["label"], lock["version"]) == (0, lock["digest"][:16], "1.0.1")
    assert json_of("show", "--path", folder)[1]["digest"] == lock["digest"]


def test_a_compatibility_label_is_kept(json_of: Json, folder: Path) -> None:
    (folder / LOCK_NAME).unlink()
    assert json_of("lock", "--path", folder, "--label", "0123456789abcdef")[0] == 0
    assert json_of("show", "--path", folder)[1]["label"] == "0123456789abcdef"
    code, shown = json_of("lock", "--path", folder, "--label", "not hex", "--accept")
    assert (code, shown["error"]["field"]) == (2, "label")


def test_diff_names_fields_and_says_whether_behaviour_changes(
    json_of: Json, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda raw: raw["domains"]["finance"].update(confidence_threshold=0.9))
    code, shown = json_of("diff", shipped_directory(), folder)
    assert (code, shown["behaviour_changes"]) == (0, True)
    assert shown["changes"] == [
        {"path": "domains.finance.confidence_threshold", "kind": "changed", "before": 0.7, "after": 0.9}
    ]
    assert run(["constitution", "diff", str(shipped_directory()), str(folder)]) == 0
    text = capsys.readouterr().out
    assert "domains.finance.confidence_threshold" in text
    assert "behaviour changes" in text
    assert json_of("diff", folder, folder)[1]["behaviour_changes"] is False


def test_a_folder_is_compared_with_its_own_lock(json_of: Json, folder: Path) -> None:
    assert json_of("diff", folder)[0] == 0
    edit(folder, lambda raw: raw.update(version="1.0.1"))
    code, shown = json_of("diff", folder)
    assert (code, shown["behaviour_changes"]) == (1, True)


def test_a_remark_in_the_yaml_changes_nothing(json_of: Json, folder: Path) -> None:
    path = folder / DOCUMENT_NAME
    path.write_text("# remark\n" + path.read_text())
    assert json_of("diff", folder)[0] == 0
    assert json_of("show", "--path", folder)[0] == 0


def test_the_shipped_cases_pass_in_every_engine(json_of: Json) -> None:
    code, shown = json_of("test")
    assert (code, shown["passes"], shown["rules_without_a_case"]) == (0, True, [])
    assert {"rego", "cedar", "clauses"} <= {outcome["judge"] for outcome in shown["outcomes"]}


def test_one_engine_may_be_picked(json_of: Json) -> None:
    _, shown = json_of("test", "--engine", "cedar")
    assert {outcome["judge"] for outcome in shown["outcomes"]} - {"guard"} == {"cedar"}
    code, shown = json_of("test", "--engine", "prolog")
    assert (code, shown["error"]["field"]) == (2, "engine")


def test_a_case_that_a_changed_rule_breaks_is_reported(
    json_of: Json, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def loosen(raw: dict[str, Any]) -> None:
        [rule] = [rule for rule in raw["rules"] if rule["id"] == "AML-01"]
        rule["when"][0]["value"] = 10001

    edit(folder, loosen)
    code, shown = json_of("test", "--path", folder)
    failed = {outcome["fixture"] for outcome in shown["outcomes"] if not outcome["passed"]}
    assert code == 1
    assert failed == {
        "ten thousand in cash without a report",
        "an unknown customer brings ten thousand in cash in an unauthorised payment",
    }
    assert run(["constitution", "test", "--path", str(folder)]) == 1
    assert "ten thousand in cash without a report" in capsys.readouterr().out


def test_texts_that_no_guard_judged_are_counted_and_not_passed(json_of: Json, folder: Path) -> None:
    edit(folder, lambda raw: raw.update(version="1.0.1"))  # no bundle was trained under this draft
    cases = yaml.safe_load((folder / FIXTURES_NAME).read_text())
    code, shown = json_of("test", "--path", folder)
    assert code == 0
    assert shown["texts_left_out"] == sum("query" in case for case in cases) > 5
    assert "guard" not in {outcome["judge"] for outcome in shown["outcomes"]}


def test_a_guard_bundle_that_was_named_must_load(json_of: Json, tmp_path: Path) -> None:
    code, shown = json_of("test", "--bundle", tmp_path)
    assert (code, shown["error"]["code"]) == (2, "unavailable")
