from __future__ import annotations

import base64
import json
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.errors import IntegrityError, InvalidInputError
from acgs.security.roles import Role
from acgs.security.tokens import MAX_LIFETIME, AuthenticationError, TokenIssuer, TokenVerifier, bearer_token

HOUR = timedelta(hours=1)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "private.pem"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "public.pem"


@pytest.fixture
def issuer(private: Path, public: Path) -> TokenIssuer:
    return TokenIssuer.open(private, public)


@pytest.fixture
def key(issuer: TokenIssuer, private: Path) -> Ed25519PrivateKey:
    loaded = load_pem_private_key(private.read_bytes(), None)
    assert isinstance(loaded, Ed25519PrivateKey)
    return loaded


def later(offset: timedelta) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + offset


def test_a_token_names_its_subject_and_roles(issuer: TokenIssuer, public: Path) -> None:
    caller = TokenVerifier(public).verify(issuer.issue("mia@example.org", [Role.TRAINER, Role.VIEWER], HOUR))
    assert caller.subject == "mia@example.org"
    assert caller.roles == {Role.TRAINER, Role.VIEWER}
    assert caller.token_id


def test_two_tokens_of_one_person_have_different_ids(issuer: TokenIssuer, public: Path) -> None:
    verifier = TokenVerifier(public)
    ids = {verifier.verify(issuer.issue("mia", [Role.VIEWER], HOUR)).token_id for _ in range(3)}
    assert len(ids) == 3


def test_the_private_key_is_its_owners_alone_and_the_public_half_verifies_without_it(
    issuer: TokenIssuer, private: Path, public: Path
) -> None:
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    token = issuer.issue("mia", [Role.VIEWER], HOUR)
    private.unlink()
    assert TokenVerifier(public).verify(token).subject == "mia"


def test_opening_again_uses_the_same_key(issuer: TokenIssuer, private: Path, public: Path) -> None:
    token = TokenIssuer.open(private, public).issue("mia", [Role.VIEWER], HOUR)
    TokenVerifier(public).verify(token)


def test_a_key_that_others_may_read_is_refused(issuer: TokenIssuer, private: Path, public: Path) -> None:
    private.chmod(0o640)
    with pytest.raises(IntegrityError, match="open to others"):
        TokenIssuer.open(private, public)


@pytest.mark.parametrize(
    ("offset", "valid"),
    [
        (timedelta(minutes=59), True),
        (HOUR + timedelta(seconds=20), True),
        (HOUR + timedelta(seconds=40), False),
        (timedelta(seconds=-20), True),
        (timedelta(seconds=-40), False),
    ],
)
def test_a_token_holds_for_its_time_with_half_a_minute_of_leeway(
    issuer: TokenIssuer, public: Path, offset: timedelta, valid: bool
) -> None:
    token = issuer.issue("mia", [Role.VIEWER], HOUR)
    verifier = TokenVerifier(public, clock=later(offset))
    if valid:
        verifier.verify(token)
    else:
        with pytest.raises(AuthenticationError):
            verifier.verify(token)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "mia", "roles": ["viewer"], "iat": now, "exp": now + 60, "jti": "1"} | changed


def test_the_unchanged_claims_are_valid(key: Ed25519PrivateKey, public: Path) -> None:
    TokenVerifier(public).verify(jwt.encode(claims(), key, algorithm="EdDSA"))


@pytest.mark.parametrize(
    "changed",
    [
        {"roles": []},
        {"roles": ["emperor"]},
        {"roles": ["viewer", "emperor"]},
        {"roles": None},
        {"roles": 7},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "x\n"},
        {"exp": "soon"},
        {"exp": 1e300},
        {"iat": None},
        {"exp": int(time.time() + MAX_LIFETIME.total_seconds() + 3600)},
    ],
)
def test_signed_claims_that_make_no_sense_are_refused(
    key: Ed25519PrivateKey, public: Path, changed: dict[str, Any]
) -> None:
    with pytest.raises(AuthenticationError):
        TokenVerifier(public).verify(jwt.encode(claims(**changed), key, algorithm="EdDSA"))


@pytest.mark.parametrize("missing", ["sub", "roles", "iat", "exp", "jti"])
def test_every_claim_is_required(key: Ed25519PrivateKey, public: Path, missing: str) -> None:
    kept = {name: value for name, value in claims().items() if name != missing}
    with pytest.raises(AuthenticationError):
        TokenVerifier(public).verify(jwt.encode(kept, key, algorithm="EdDSA"))


def _segment(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_other_algorithms_are_refused(issuer: TokenIssuer, public: Path) -> None:
    """Unsigned tokens, and HMAC with the public key as its secret (RFC 8725, sections 2.1 and 3.1)."""
    import hashlib
    import hmac

    verifier = TokenVerifier(public)
    unsigned = f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims())}"
    confused = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims())}"
    mac = hmac.new(public.read_bytes(), confused.encode(), hashlib.sha256).digest()
    for token in (f"{unsigned}.", f"{confused}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"):
        with pytest.raises(AuthenticationError):
            verifier.verify(token)


def test_another_key_signs_in_vain(issuer: TokenIssuer, public: Path) -> None:
    with pytest.raises(AuthenticationError):
        TokenVerifier(public).verify(jwt.encode(claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA"))


@given(place=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_token_with_any_byte_changed_is_refused(issuer: TokenIssuer, public: Path, place: int, flip: int) -> None:
    token = issuer.issue("mia", [Role.ADMIN], HOUR)
    header, payload, signature = token.split(".")
    # The last character of a segment may carry unused bits; whole bytes are flipped instead.
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (header, payload, signature)]
    number = place % sum(map(len, parts))
    for index, part in enumerate(parts):
        if number < len(part):
            changed = bytearray(part)
            changed[number] ^= flip
            parts[index] = bytes(changed)
            break
        number -= len(part)
    forged = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    with pytest.raises(AuthenticationError):
        TokenVerifier(public).verify(forged)


@given(token=st.text(max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_makes_the_verifier_fail_otherwise(issuer: TokenIssuer, public: Path, token: str) -> None:
    with pytest.raises(AuthenticationError):
        TokenVerifier(public).verify(token)


def test_without_a_key_nobody_is_let_in(issuer: TokenIssuer, public: Path, tmp_path: Path) -> None:
    token = issuer.issue("mia", [Role.ADMIN], HOUR)
    broken = tmp_path / "broken.pem"
    broken.write_text("not a key")
    for path in (tmp_path / "absent.pem", broken):
        with pytest.raises(AuthenticationError):
            TokenVerifier(path).verify(token)


def test_a_replaced_key_counts_from_the_next_request(private: Path, public: Path, issuer: TokenIssuer) -> None:
    verifier = TokenVerifier(public)
    old = issuer.issue("mia", [Role.VIEWER], HOUR)
    verifier.verify(old)
    private.unlink()
    new = TokenIssuer.open(private, public).issue("mia", [Role.VIEWER], HOUR)
    verifier.verify(new)
    with pytest.raises(AuthenticationError):
        verifier.verify(old)


def test_the_refusal_does_not_say_what_was_wrong(issuer: TokenIssuer, public: Path) -> None:
    verifier = TokenVerifier(public, clock=later(timedelta(days=2)))
    messages = set()
    for token in ("", "x.y.z", issuer.issue("mia", [Role.VIEWER], HOUR)):
        with pytest.raises(AuthenticationError) as caught:
            verifier.verify(token)
        messages.add(caught.value.message)
    assert len(messages) == 1


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


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_the_bearer_scheme_is_read_in_any_case(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_a_header_without_a_bearer_token_is_refused(header: str | None) -> None:
    with pytest.raises(AuthenticationError):
        bearer_token(header)
