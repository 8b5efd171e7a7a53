from __future__ import annotations

import json
from pathlib import Path

import pytest

from acgs.cli.main import run
from acgs.security.roles import Role
from acgs.security.tokens import TokenVerifier


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path))
    return tmp_path


def test_an_issued_token_is_valid_under_the_public_key_beside_the_private_one(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["token", "issue", "mia", "--role", "trainer", "--role", "viewer"]) == 0
    caller = TokenVerifier(state_dir / "tokens" / "public.pem").verify(capsys.readouterr().out.strip())
    assert caller.roles == {Role.TRAINER, Role.VIEWER}


def test_the_token_comes_as_json_too(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "issue", "mia", "--role", "admin", "--hours", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["subject"], answer["roles"], answer["hours"]) == ("mia", ["admin"], 1)
    assert TokenVerifier(state_dir / "tokens" / "public.pem").verify(answer["token"]).subject == "mia"


@pytest.mark.parametrize("words", [["mia"], ["mia", "--role", "emperor"], ["a b", "--role", "viewer"]])
def test_a_subject_or_role_that_cannot_be_is_refused(state_dir: Path, words: list[str]) -> None:
    assert run(["token", "issue", *words]) == 2
