"""`acgs release` as it is typed, with slots that load and answer in this process."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgs.cli.main import run
from acgs.mlops import staging_process, train_and_version_model
from acgs.release.promotion import Target, begin
from acgs.release.requirements import Grounds
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import Role
from acgs.serving.deployments.record import RampPlan
from acgs.settings import Settings
from tests.acgs.mlops.conftest import Platform, platform
from tests.acgs.release.test_history import Installation, live_through

__all__ = ["platform"]

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def held_out(platform: Platform, tmp_path: Path) -> str:
    """Two versions of a model that answer alike; limits that suit a small table; the held-out rows."""
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(0)
    rows = draw.normal(size=(2000, 3))
    labels = (rows[:, 0] > 0).astype(int)
    made = [
        train_and_version_model(rows, labels, "triage", estimator=LogisticRegression(C=c), manager=platform.manager)
        for c in (1.0, 0.9)
    ]
    (tmp_path / "limits.yaml").write_text("requests: 60\ncallers: 2\n")
    (tmp_path / "margins.yaml").write_text("p95_ms: 100\np99_ms: 200\n")
    return str(made[0].held_out)


def spoken(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run(["release", *words, "--json"]) == code, capsys.readouterr().out
    return json.loads(capsys.readouterr().out)


def test_a_version_goes_out_and_back_and_the_history_verifies_anywhere(
    platform: Platform,
    held_out: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage = ["--data", held_out, "--limits", "limits.yaml"]
    assert spoken(capsys, "promote", "triage@1.0.0", code=2)["error"]["code"] == "conflict"
    assert spoken(capsys, "stage", "triage@1.0.0", *stage)["document"]["verdict"] == "PASS"
    first = spoken(capsys, "promote", "triage@1.0.0", "--watch", "0")
    assert (first["status"], first["routers_follow"]) == ("deployed", True)
    spoken(capsys, "stage", "triage@1.1.0", *stage)
    contract = ["--data", held_out, "--margins", "margins.yaml", "--waive", "calibration=too few rows"]
    digest = spoken(capsys, "contract", "triage@1.1.0", *contract)["digest"]
    assert run(["release", "promote", "triage@1.1.0", "--steps", "100"]) == 0
    assert sum("1.1.0: deployed" in line for line in capsys.readouterr().out.splitlines()) == 1
    assert spoken(capsys, "status", "triage")["live"] == "1.1.0"
    assert spoken(capsys, "rollback", "triage", "--reason", "complaints")["status"] == "rolled_back"
    assert spoken(capsys, "rollback", "triage", "--reason", "again", code=2)["error"]["field"] == "model"
    assert run(["release", "document", digest]) == 0

    assert run(["release", "history", "triage", "--output", "history.json"]) == 0
    assert run(["registry", "public-keys", "keys"]) == 0
    capsys.readouterr()
    assert run(["audit", "show", "--json"]) == 0
    log_key = json.loads(capsys.readouterr().out)["public_keys"][0]
    verify = ["verify", "history.json", "--public-key", "keys/ed25519.pem", "--log-key", log_key]
    assert spoken(capsys, *verify)["holds"]
    assert run(["release", *verify]) == 0
    assert "history of triage, made " in capsys.readouterr().out
    Path("history.json").write_text(Path("history.json").read_text().replace("complaints", "compliments"))
    assert spoken(capsys, *verify, code=1)["faults"]
    emptied = {"model": "intake", "live": [], "deployments": [], "documents": [], "events": []}
    Path("history.json").write_text(json.dumps(json.loads(Path("history.json").read_text()) | emptied))
    assert not spoken(capsys, *verify, code=1)["holds"]


def test_the_table_shows_for_each_span_the_evidence_on_which_its_version_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    live_through(tmp_path / "state")
    capsys.readouterr()
    assert run(["release", "history", "triage"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " to " in line]
    shown = [[cell.strip() for cell in line.split("│")[2:5]] for line in lines]
    versions = [
        (version, who, rests[:12], "ada: known bias; bob: known bias" in rests) for version, who, rests in shown
    ]
    assert versions == [
        ("nothing", "mia", "", False),
        ("1.0.0", "mia", "staging PASS", False),
        ("1.0.0", "mia", "staging PASS", False),
        ("1.1.0", "mia", "staging FAIL", True),
        ("1.0.0", "noor", "staging PASS", False),
        ("1.1.0", "olu", "staging PASS", False),
    ]


def test_while_a_version_ramps_up_the_table_shows_what_it_rests_on_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    made = Installation(tmp_path / "state")
    made.promote("1.0.0", [made.document("staging", "1.0.0")], actor="mia")
    failed = made.document("staging", "1.1.0", "FAIL")
    consent = tuple(made.approval(who, failed.digest) for who in ("ada", "bob"))
    target = Target("triage", "1.1.0", Grounds((failed,), consent))
    deployments, serving = made.manager.deployments, made.manager.serving
    begin(deployments, serving, target, RampPlan(steps=(10, 100)), against="1.0.0", actor="olu", reason="urgent")
    made.tick()
    capsys.readouterr()
    assert run(["release", "history", "triage"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "10 % 1.1.0" in line]
    assert "staging PASS" in row
    assert f"1.1.0: staging FAIL {failed.digest[:12]}; 1.1.0: ada: known bias; 1.1.0: bob: known bias" in row
    assert "1.1.0: (urgent)" in row


def test_an_approval_is_counted_once_a_person_and_never_from_a_row_put_in_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation(tmp_path / "state")
    digest = installation.document("staging", "1.0.0", "FAIL").digest
    for who in ("eve", "mallory"):
        installation.sql(
            f"INSERT INTO lifecycle_events SELECT max(number) + 1, '{who}', 'release.override.approved', '{who}', "
            f'\'triage\', \'1.0.0\', \'{{"document": "{digest}", "reason": "fine"}}\', '
            "'2026-11-21T00:00:00.000000Z', NULL FROM lifecycle_events"
        )
    issuer = TokenIssuer.open(Settings())
    said = []
    for who in ("ada", "ada", "bob"):
        monkeypatch.setenv("ACGS_TOKEN", issuer.issue(who, [Role.APPROVER], timedelta(hours=1)).text)
        capsys.readouterr()
        code = run(["release", "approve", digest, "--reason", "labels are wrong"])
        output = capsys.readouterr()
        said.append((code, output.out + output.err))
    assert [code for code, _ in said] == [0, 2, 0]
    words = ("has 1 of the 2 approvals", "ada approved this document already", "has 2 of the 2 approvals")
    assert all(expected in text for expected, (_, text) in zip(words, said, strict=True)), said


def test_a_fail_ends_with_one_and_blocks(platform: Platform, held_out: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [json.loads(line) for line in Path(held_out).read_text().splitlines()]
    Path("wrong.jsonl").write_text("".join(json.dumps({**row, "label": 1 - row["label"]}) + "\n" for row in wrong))
    words = ["stage", "triage@1.0.0", "--data", "wrong.jsonl", "--limits", "limits.yaml"]
    found = spoken(capsys, *words, code=1)
    assert found["document"]["verdict"] == "FAIL"
    assert "says FAIL" in spoken(capsys, "promote", "triage@1.0.0", code=2)["error"]["message"]
    # Nobody approves without a proven name.
    assert run(["release", "approve", found["digest"], "--reason", "labels are wrong"]) == 2


def test_the_policy_in_force_is_shown_and_what_is_looser_is_refused(
    held_out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("policy.yaml")
    file.write_text("models: {triage: {staging: {requests: 90}, fewest_rows: 200}}")
    file.chmod(0o644)
    monkeypatch.setenv("ACGS_RELEASE_POLICY", str(file))
    whole = spoken(capsys, "policy", "--data", held_out)
    assert whole["models"]["triage"]["staging"]["requests"] == 90
    of_model = spoken(capsys, "policy", "triage")
    assert (of_model["rules"], len(of_model["digest"])) == (whole["models"]["triage"], 64)
    assert run(["release", "policy", "triage"]) == 0
    assert "staging.requests" in capsys.readouterr().out

    words = ["stage", "triage@1.0.0", "--data", held_out, "--limits", "limits.yaml"]
    assert spoken(capsys, *words, code=2)["error"]["field"] == "limits.requests"
    Path("limits.yaml").write_text("requests: 90\ncallers: 2\n")
    staged = spoken(capsys, *words)["document"]
    assert (staged["policy_digest"], staged["data_digest"]) == (of_model["digest"], whole["data_digest"])
    monkeypatch.delenv("ACGS_RELEASE_POLICY")
    assert spoken(capsys, "adopt-policy", str(file))["policy"] == {n: whole[n] for n in whole if n != "data_digest"}
    assert spoken(capsys, "policy", "triage") == of_model
    Path("bad.yaml").write_text("x: 2026-13-45")
    Path("bad.yaml").chmod(0o644)
    assert "goes on holding" in spoken(capsys, "adopt-policy", "bad.yaml", code=2)["error"]["message"]
    assert spoken(capsys, "policy", "triage") == of_model
    monkeypatch.setenv("ACGS_RELEASE_POLICY", str(file))
    file.write_text("models: {triage: {most: 1}}")
    for refused in (["policy"], words, ["promote", "triage@1.0.0"]):
        error = spoken(capsys, *refused, code=2)["error"]
        assert (error["field"], "models.triage.most" in error["message"]) == ("release_policy", True)


def test_a_version_that_crashes_does_not_take_the_command_with_it(
    held_out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = partial(staging_process.MeasuringApart, module="tests.acgs.mlops.processes.crashes")
    monkeypatch.setattr(staging_process, "MeasuringApart", crashing)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    words = ["stage", "triage@1.0.0", "--data", held_out]
    found = spoken(capsys, *words, code=1)["document"]
    assert (found["verdict"], found["attempt"]) == ("INSUFFICIENT", None)
    assert "died (signal 11)" in found["body"]["results"][0]["reason"]
    assert run(["release", *words]) == 1
    assert "which spends no attempt" in " ".join(capsys.readouterr().out.split())


BAD = (
    (["promote", "none@1.0.0"], "name"),
    (["promote", "triage@1.0.0", "--steps", "50"], "steps"),
    (["promote", "triage@1.0.0", "--steps", "ten"], "steps"),
    (["stage", "triage@1.0.0", "--data", "absent.jsonl"], "data"),
    (["contract", "triage@1.0.0", "--data", "HELD"], "model"),
    (["rollback", "triage", "--reason", "x"], "model"),
    (["rollback", "triage", "--reason", " "], "reason"),
    (["status", "none"], "name"),
    (["history", "none"], "name"),
    (["verify", "margins.yaml", "--public-key", "limits.yaml", "--log-key", "x"], "file"),
)


def test_bad_input_is_one_sentence(held_out: str, capsys: pytest.CaptureFixture[str]) -> None:
    # One test for all: the versions that they need take seconds to make.
    for words, field in BAD:
        error = spoken(capsys, *(held_out if word == "HELD" else word for word in words), code=2)["error"]
        assert (words, error["field"]) == (words, field)
