"""Issuing, rotation, retirement and revocation, as the verifier sees them."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acgs.errors import IntegrityError, InvalidInputError
from acgs.security.issuing import TokenIssuer
from acgs.security.roles import Role
from acgs.security.tokens import MAX_LIFETIME, AuthenticationError, open_verifier, token_folder
from acgs.settings import Settings

HOUR = timedelta(hours=1)


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def token(issuer: TokenIssuer) -> str:
    return issuer.issue("mia", [Role.VIEWER], HOUR).text


@pytest.fixture
def folder(settings: Settings) -> Path:
    return token_folder(settings)


def test_two_tokens_of_one_person_have_different_identifiers(issuer: TokenIssuer) -> None:
    assert len({issuer.issue("mia", [Role.VIEWER], HOUR).token_id for _ in range(3)}) == 3


def test_the_private_key_is_its_owners_alone_and_the_public_ones_verify_without_it(
    issuer: TokenIssuer, settings: Settings, folder: Path
) -> None:
    issued = token(issuer)
    private = folder / "private.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    private.unlink()
    assert open_verifier(settings).verify(issued).subject == "mia"


def test_opening_again_uses_the_same_key(issuer: TokenIssuer, settings: Settings) -> None:
    token(issuer)
    token(TokenIssuer.open(settings))
    assert len(issuer.key_ids()) == 1


def test_a_key_that_others_may_read_is_refused(issuer: TokenIssuer, folder: Path) -> None:
    token(issuer)
    (folder / "private.pem").chmod(0o640)
    with pytest.raises(IntegrityError, match="open to others"):
        token(issuer)


def test_old_tokens_outlive_a_rotation_until_their_key_is_retired(issuer: TokenIssuer, settings: Settings) -> None:
    verifier = open_verifier(settings)
    before = token(issuer)
    (old,) = issuer.key_ids()
    new = issuer.rotate()
    after = token(issuer)
    assert issuer.key_ids() == [old, new]
    assert verifier.verify(before).subject == verifier.verify(after).subject == "mia"
    issuer.retire(old)
    verifier.verify(after)
    with pytest.raises(AuthenticationError):
        verifier.verify(before)


def test_the_key_that_signs_and_an_unknown_one_are_not_retired(issuer: TokenIssuer, settings: Settings) -> None:
    issued = token(issuer)
    for kid in (*issuer.key_ids(), "unknown"):
        with pytest.raises(InvalidInputError):
            issuer.retire(kid)
    open_verifier(settings).verify(issued)


def test_a_rotation_cut_off_after_the_key_set_leaves_the_old_key_at_work(
    issuer: TokenIssuer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    token(issuer)
    with monkeypatch.context() as patched:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(TokenIssuer, "_write_private", killed)
        with pytest.raises(KeyboardInterrupt):
            issuer.rotate()
    open_verifier(settings).verify(token(issuer))


def test_a_key_that_no_longer_counts_signs_nothing(issuer: TokenIssuer, folder: Path) -> None:
    token(issuer)
    (folder / "jwks.json").write_text('{"keys": []}')
    with pytest.raises(IntegrityError, match="rotate"):
        token(issuer)
    issuer.rotate()
    token(issuer)


def test_a_rotation_does_not_drop_keys_of_others(issuer: TokenIssuer, folder: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from jwt.algorithms import RSAAlgorithm

    token(issuer)
    document = json.loads((folder / "jwks.json").read_text())
    foreign = RSAAlgorithm.to_jwk(generate_private_key(65537, 2048).public_key(), as_dict=True)
    document["keys"].append({**foreign, "kid": "theirs"})
    (folder / "jwks.json").write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="ACGS_JWKS"):
        issuer.rotate()
    assert json.loads((folder / "jwks.json").read_text()) == document


def test_a_revoked_token_counts_no_more_and_others_do(issuer: TokenIssuer, settings: Settings) -> None:
    verifier = open_verifier(settings)
    lost, kept = (issuer.issue("mia", [Role.VIEWER], HOUR) for _ in range(2))
    verifier.verify(lost.text)
    issuer.revoke(lost.token_id)
    with pytest.raises(AuthenticationError):
        verifier.verify(lost.text)
    verifier.verify(kept.text)


def test_a_list_of_revoked_tokens_that_cannot_be_read_lets_nobody_in(
    issuer: TokenIssuer, settings: Settings, folder: Path
) -> None:
    issued = token(issuer)
    for text in ("", "[]", '{"revoked": {"1": "soon"}}', '{"revoked": []}'):
        (folder / "revoked.json").write_text(text)
        with pytest.raises(AuthenticationError):
            open_verifier(settings).verify(issued)
        with pytest.raises(IntegrityError):
            issuer.revoke("1")


def test_the_list_forgets_what_has_expired_anyway(settings: Settings, folder: Path) -> None:
    now = datetime.now(UTC)
    for days in (0, 1, 92):
        TokenIssuer(folder, issuer="acgs", audience="acgs", clock=at(now + timedelta(days=days))).revoke(
            f"token {days}"
        )
    assert json.loads((folder / "revoked.json").read_text())["revoked"].keys() == {"token 92"}
    assert timedelta(days=91) > MAX_LIFETIME


@pytest.mark.parametrize("token_id", ["", " ", "x" * 300])
def test_what_is_no_identifier_is_not_revoked(issuer: TokenIssuer, token_id: str) -> None:
    with pytest.raises(InvalidInputError):
        issuer.revoke(token_id)


@pytest.mark.parametrize(
    ("subject", "roles", "lifetime", "field"),
    [
        ("", [Role.VIEWER], HOUR, "subject"),
        ("-mia", [Role.VIEWER], HOUR, "subject"),
        ("mia", [], HOUR, "role"),
        ("mia", [Role.VIEWER], timedelta(0), "lifetime"),
        ("mia", [Role.VIEWER], MAX_LIFETIME + HOUR, "lifetime"),
    ],
)
def test_what_cannot_be_verified_is_not_issued(
    issuer: TokenIssuer, subject: str, roles: list[Role], lifetime: timedelta, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        issuer.issue(subject, roles, lifetime)
    assert caught.value.field == field


def test_tokens_of_one_installation_do_not_open_another(issuer: TokenIssuer, settings: Settings) -> None:
    issued = token(issuer)
    elsewhere = Settings(state_dir=settings.state_dir, token_audience="elsewhere")
    with pytest.raises(AuthenticationError):
        open_verifier(elsewhere).verify(issued)
    open_verifier(elsewhere).verify(token(TokenIssuer.open(elsewhere)))


def test_issuing_and_rotating_at_once_loses_no_key_and_no_token(issuer: TokenIssuer, settings: Settings) -> None:
    def work(number: int) -> list[str]:
        own = TokenIssuer.open(settings)
        first = token(own)
        if number % 2:
            own.rotate()
        return [first, token(own)]

    with ThreadPoolExecutor(8) as pool:
        issued = [text for texts in pool.map(work, range(16)) for text in texts]
    verifier = open_verifier(settings)
    assert {verifier.verify(text).subject for text in issued} == {"mia"}
    assert len(issuer.key_ids()) == 1 + 8
