from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acgs.audit.journal_reader import read_batch
from acgs.cli.main import run
from acgs.security.callers import login_name
from acgs.security.roles import Caller, Role
from acgs.security.tokens import AuthenticationError, open_verifier
from acgs.settings import Settings

ISSUE = ["token", "issue", "mia", "--role", "viewer", "--json"]


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; what it writes as JSON."""

    def run_json(words: list[str]) -> Any:
        assert run(words) == 0
        return json.loads(capsys.readouterr().out)

    return run_json


def verified(token: str) -> Caller:
    return open_verifier(Settings()).verify(token)


def test_an_issued_token_is_valid_under_the_key_set_of_the_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "issue", "mia", "--role", "trainer", "--role", "viewer"]) == 0
    assert verified(capsys.readouterr().out.strip()).roles == {Role.TRAINER, Role.VIEWER}


def test_the_token_comes_as_json_too(told: Any) -> None:
    answer = told(["token", "issue", "mia", "--role", "admin", "--hours", "1", "--json"])
    assert (answer["subject"], answer["roles"], answer["hours"]) == ("mia", ["admin"], 1)
    assert verified(answer["token"]).token_id == answer["token_id"]


@pytest.mark.parametrize("words", [["mia"], ["mia", "--role", "releaser"], ["a b", "--role", "viewer"]])
def test_a_subject_or_role_that_cannot_be_is_refused(words: list[str]) -> None:
    assert run(["token", "issue", *words]) == 2


def test_a_revoked_token_counts_no_more(told: Any) -> None:
    lost, kept = told(ISSUE), told(ISSUE)
    assert run(["token", "revoke", lost["token_id"]]) == 0
    with pytest.raises(AuthenticationError):
        verified(lost["token"])
    verified(kept["token"])


def test_keys_are_rotated_and_retired(told: Any) -> None:
    before = told(ISSUE)["token"]
    (old,) = told(["token", "keys", "--json"])["keys"]
    assert run(["token", "retire", old]) == 2
    new = told(["token", "rotate", "--json"])["kid"]
    after = told(ISSUE)["token"]
    verified(before)
    assert told(["token", "keys", "--json"])["keys"] == [old, new]
    assert run(["token", "retire", old]) == 0
    with pytest.raises(AuthenticationError):
        verified(before)
    verified(after)


def test_who_gave_and_took_access_is_on_record_without_the_tokens(told: Any, state_dir: Path) -> None:
    issued = told(ISSUE)
    (old,) = told(["token", "keys", "--json"])["keys"]
    new = told(["token", "rotate", "--json"])["kid"]
    run(["token", "retire", old])
    run(["token", "revoke", issued["token_id"]])
    entries = [json.loads(entry) for entry in read_batch(state_dir / "audit" / "journals", {}, 100).entries]
    assert {(entry["kind"], entry["actor"], entry["subject"]) for entry in entries} == {
        ("token.issued", login_name(), issued["token_id"]),
        ("token.key.added", login_name(), new),
        ("token.key.retired", login_name(), old),
        ("token.revoked", login_name(), issued["token_id"]),
    }
    (given,) = (entry["details"] for entry in entries if entry["kind"] == "token.issued")
    assert (given["to"], given["roles"]) == ("mia", ["viewer"])
    assert issued["token"].split(".")[2] not in json.dumps(entries)


def test_no_token_is_issued_that_the_services_would_refuse(
    told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(ISSUE)
    copied = tmp_path / "copied.json"
    copied.write_bytes((tmp_path / "tokens" / "jwks.json").read_bytes())
    monkeypatch.setenv("ACGS_JWKS", str(copied))
    verified(told(ISSUE)["token"])
    copied.write_text('{"keys": []}')
    assert run(ISSUE) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["field"] == "jwks"
    assert "token" not in answer
