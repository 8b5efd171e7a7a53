"""`acgs registry` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from acgs.cli.main import run
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.json").write_text('{"w": [1, 2]}')
    return str(folder)


def spoken(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run(["registry", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    error: dict[str, Any] = spoken(capsys, *words, code=2)["error"]
    return error


def test_a_version_is_made_listed_shown_fetched_and_verified(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"visits={'d' * 64}"
    options = ["--metric", "accuracy=0.9", "--data", data, "--privacy", "clinic=2.5,1e-6"]
    made = spoken(capsys, "create", "triage", model, *options)
    assert (made["name"], made["version"], made["metrics"]) == ("triage", "1.0.0", {"accuracy": 0.9})
    assert made["privacy"] == {"population": "clinic", "epsilon": 2.5, "delta": 1e-6}
    assert spoken(capsys, "create", "triage", model, "--policy", "patch", "--parent", "1.0.0")["version"] == "1.0.1"
    assert [line["version"] for line in spoken(capsys, "list")] == ["1.0.1", "1.0.0"]
    assert spoken(capsys, "show", "triage@1.0.0")["facts_digest"] == made["facts_digest"]
    spoken(capsys, "fetch", "triage", "out")
    assert (tmp_path / "out" / "weights.json").read_text() == '{"w": [1, 2]}'
    assert [check["holds"] for check in spoken(capsys, "verify")] == [True, True]
    edges = spoken(capsys, "lineage", "triage")["edges"]
    assert {edge["relation"] for edge in edges} == {"parent", "data", "constitution"}


def test_a_description_may_come_from_a_file(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"kind": "tree", "metrics": {"f1": 0.5}, "metadata": {"team": "a"}}))
    made = spoken(capsys, "create", "triage", model, "--describe", "card.json", "--metric", "f1=0.75")
    assert (made["kind"], made["metrics"], made["metadata"]) == ("tree", {"f1": 0.75}, {"team": "a"})


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["create", "Triage", "MODEL"], "name"),
        (["create", "triage", "nowhere"], "artifact"),
        (["create", "triage", "MODEL", "--version", "1.0"], "version"),
        (["create", "triage", "MODEL", "--metric", "accuracy"], "metric"),
        (["create", "triage", "MODEL", "--metric", "accuracy=good"], "metrics.accuracy"),
        (["create", "triage", "MODEL", "--data", "visits=abc"], "data.0.digest"),
        (["create", "triage", "MODEL", "--parent", "9.9.9"], "parent"),
        (["create", "triage", "MODEL", "--push", "origin"], "push"),
        (["create", "triage", "MODEL", "--prerelease", "rc.1"], "prerelease"),
        (["show", "nothing"], "name"),
        (["show", "@1.0.0"], "reference"),
        (["lineage", "nothing"], "name"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    model: str, capsys: pytest.CaptureFixture[str], words: list[str], field: str
) -> None:
    error = refused(capsys, *(model if word == "MODEL" else word for word in words))
    assert error["field"] == field
    assert spoken(capsys, "list") == []


def test_a_flipped_byte_makes_verify_fail(model: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoken(capsys, "create", "triage", model)
    chunk = next(path for path in (state / "artifacts" / "chunks").rglob("*") if path.is_file())
    chunk.chmod(0o600)
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(bytes(data))
    (check,) = spoken(capsys, "verify", code=1)
    assert check["faults"]


def test_gc_shows_first_and_doctor_finds_nothing_wrong(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        spoken(capsys, "create", "triage", model)
    assert run(["registry", "hold", "triage@1.0.0", "--reason", "case 7"]) == 0
    shown = spoken(capsys, "gc", "--days", "0", "--keep-latest", "1")
    assert (shown["versions"], shown["dry_run"]) == (1, True)
    done = spoken(capsys, "gc", "--days", "0", "--keep-latest", "1", "--apply")
    assert {c["version"]: c["stays"] for c in done["choices"]} == {
        "triage@1.2.0": True, "triage@1.1.0": False, "triage@1.0.0": True,
    }  # fmt: skip
    assert spoken(capsys, "doctor") == {"found": [], "before_repair": []}
    assert run(["registry", "unhold", "triage@1.0.0"]) == 0


def test_doctor_tells_of_a_release_policy_that_nobody_can_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert spoken(capsys, "doctor")["found"] == []
    Path("policy.yaml").write_text("every_model: {fewest_rows: 40}")
    Path("policy.yaml").chmod(0o644)
    assert run(["release", "adopt-policy", "policy.yaml"]) == 0
    capsys.readouterr()
    assert spoken(capsys, "doctor")["found"] == []
    with open_engine(configured_url(Settings())).begin() as connection:
        connection.execute(text("DROP TRIGGER lifecycle_events_no_delete"))
        connection.execute(text("DELETE FROM lifecycle_events"))
    (told,) = spoken(capsys, "doctor", code=1)["found"]
    assert ("release policy" in told["what"], told["mendable"]) == (True, False)


def test_the_public_tool_verifies_what_was_fetched(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoken(capsys, "create", "triage", model)
    assert run(["registry", "fetch", "triage", "out"]) == 0
    assert run(["registry", "public-keys", "keys"]) == 0
    words = ["verify", "key", "out", "--signature", "out/model.sig", "--public_key", "keys/ecdsa.pem"]
    command = [sys.executable, "-m", "model_signing", *words]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    Path("out/weights.json").write_text("{}")
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0


def test_a_tag_is_refused_before_anything_is_made_and_written_on_request(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "create", "triage", model, "--tag")["field"] == "tag"
    assert spoken(capsys, "list") == []
    for words in (
        ["init", "--quiet"], ["config", "user.name", "Mia"], ["config", "user.email", "m@example.org"],
        ["commit", "--quiet", "--allow-empty", "-m", "first"],
    ):  # fmt: skip
        subprocess.run(["git", *words], check=True)
    assert refused(capsys, "create", "triage", model)["field"] == "code"
    (tmp_path / ".gitignore").write_text("*\n")
    assert spoken(capsys, "create", "triage", model, "--tag")["git_tag"] == "triage-v1.0.0"
    assert all(finding["holds"] for finding in spoken(capsys, "ready"))
    assert run(["registry", "tag", "triage"]) == 0


def test_what_could_never_be_served_becomes_no_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model.json").write_text('{"format": "acgs-model/1", "kind": "sklearn", "entry": "../x"}')
    assert refused(capsys, "create", "triage", str(folder))["field"] == "entry"
    (folder / "model.json").unlink()
    (folder / "weights.json").write_text("{}")
    assert refused(capsys, "create", "health", str(folder))["field"] == "name"
    assert spoken(capsys, "list") == []


def test_a_wrapping_key_is_rotated_and_given_up_once_nothing_is_under_it(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken(capsys, "create", "triage", model)
    first = spoken(capsys, "keys")
    old = first["present"]
    assert first["keys"] == {old: 2}
    new = spoken(capsys, "rotate-key")["key_id"]
    assert spoken(capsys, "rewrap")["dry_run"]
    assert run(["registry", "retire-key", old]) == 2
    done = spoken(capsys, "rewrap", "--apply")
    assert (done["artifacts"], done["secret"], done["key_id"]) == (1, True, new)
    assert run(["registry", "rewrap"]) == 0
    assert f"the keys of 0 artifacts would be wrapped (--apply does it) with {new}" in " ".join(
        capsys.readouterr().out.split()
    )
    assert run(["registry", "retire-key", old]) == 0
    assert spoken(capsys, "keys") == {"present": new, "keys": {new: 2}}
    assert [check["holds"] for check in spoken(capsys, "verify")] == [True]
