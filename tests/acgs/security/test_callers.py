"""Who acts at the terminal."""

from __future__ import annotations

import os
import pwd
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from acgs.errors import AcgsError, IntegrityError, InvalidInputError, UnavailableError
from acgs.security.callers import current_caller
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import ForbiddenError, Permission, Role
from acgs.security.tokens import AuthenticationError
from acgs.settings import Settings

HOUR = timedelta(hours=1)


def with_token(settings: Settings, text: str) -> Settings:
    return settings.model_copy(update={"token": SecretStr(text)})


def test_without_keys_the_local_user_may_do_everything_but_approve(settings: Settings) -> None:
    caller = current_caller(settings, local_user=lambda: "mia")
    assert caller.subject == "mia"
    assert {permission for permission in Permission if not caller.may(permission)} == {Permission.MODEL_APPROVE}
    with pytest.raises(ForbiddenError, match="token with the role approver or admin"):
        caller.require(Permission.MODEL_APPROVE)


def test_the_local_user_is_whom_the_system_knows_not_whom_the_environment_names(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert current_caller(settings).subject == pwd.getpwuid(os.getuid()).pw_name


def test_from_the_first_key_on_a_token_is_needed(settings: Settings, issuer: TokenIssuer) -> None:
    token = issuer.issue("mia", [Role.OPERATOR], HOUR)
    with pytest.raises(AuthenticationError, match="ACGS_TOKEN"):
        current_caller(settings)
    caller = current_caller(with_token(settings, f"{token.text}\n"))
    assert (caller.subject, caller.may(Permission.MODEL_RELEASE), caller.may(Permission.MODEL_APPROVE)) == (
        "mia",
        True,
        False,
    )


def test_a_named_key_set_asks_for_a_token_even_if_it_is_not_there(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError):
        current_caller(settings.model_copy(update={"jwks_path": tmp_path / "absent.json"}))


def test_a_folder_of_keys_without_keys_asks_for_a_token_too(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    with pytest.raises(AuthenticationError):
        current_caller(settings)


def test_a_token_that_does_not_hold_never_falls_back_to_the_local_user(settings: Settings, issuer: TokenIssuer) -> None:
    token = issuer.issue("mia", [Role.ADMIN], HOUR)
    issuer.revoke(token.token_id)
    elsewhere = settings.model_copy(update={"state_dir": settings.state_dir / "fresh"})
    for found, text in ((settings, token.text), (settings, "a.b.c"), (settings, ""), (elsewhere, token.text)):
        with pytest.raises(AuthenticationError, match="does not hold") as caught:
            current_caller(with_token(found, text))
        assert text not in caught.value.message or not text


def test_a_token_file_is_its_owners_alone(settings: Settings, issuer: TokenIssuer, tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text(issuer.issue("mia", [Role.VIEWER], HOUR).text + "\n")
    found = settings.model_copy(update={"token_file": place})
    place.chmod(0o600)
    assert current_caller(found).subject == "mia"
    for mode in (0o640, 0o604, 0o620):
        place.chmod(mode)
        with pytest.raises(IntegrityError, match="chmod 600"):
            current_caller(found)
    place.unlink()
    with pytest.raises(UnavailableError):
        current_caller(found)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 100_000, b"a.b.c"])
def test_a_file_that_holds_no_token_is_refused(settings: Settings, tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "token"
    place.write_bytes(content)
    place.chmod(0o600)
    with pytest.raises(AcgsError, match="does not hold"):
        current_caller(settings.model_copy(update={"token_file": place}))


def test_two_tokens_are_one_too_many(settings: Settings, tmp_path: Path) -> None:
    both = settings.model_copy(update={"token": SecretStr("a.b.c"), "token_file": tmp_path / "token"})
    with pytest.raises(InvalidInputError, match="not both"):
        current_caller(both)


def test_the_environment_names_token_and_file_and_the_settings_do_not_show_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, issuer: TokenIssuer
) -> None:
    token = issuer.issue("mia", [Role.VIEWER], HOUR).text
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("ACGS_TOKEN", token)
    found = Settings()
    assert current_caller(found).subject == "mia"
    assert token not in repr(found)
    assert token not in found.model_dump_json()
