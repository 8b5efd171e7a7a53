"""What the verifier lets in: our own tokens and a provider's; and nothing that was bent on the way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from acgs.security.issuing import TokenIssuer
from acgs.security.jwks import key_id, write_keys
from acgs.security.roles import Role
from acgs.security.tokens import MAX_LIFETIME, AuthenticationError, TokenVerifier, bearer_token, open_verifier
from acgs.settings import Settings

HOUR = timedelta(hours=1)
OURS = Ed25519PrivateKey.generate()
OURS_ID = key_id(OURS.public_key())
THEIRS_ID = "provider-2026-11"


@pytest.fixture(scope="module")
def theirs() -> RSAPrivateKey:
    """An identity provider's key."""
    return generate_private_key(65537, 2048)


@pytest.fixture
def jwks(tmp_path: Path, theirs: RSAPrivateKey) -> Path:
    """A set with a key of each kind."""
    entries = json.loads(write_keys([OURS.public_key()]))["keys"]
    provider = RSAAlgorithm.to_jwk(theirs.public_key(), as_dict=True)
    provider.pop("key_ops", None)
    entries.append(provider | {"kid": THEIRS_ID, "use": "sig", "alg": "RS256"})
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": entries}))
    return path


@pytest.fixture
def verifier(jwks: Path) -> TokenVerifier:
    return TokenVerifier(jwks, issuer="acgs", audience="acgs")


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    valid = {"iss": "acgs", "aud": "acgs", "sub": "mia", "roles": ["viewer"], "iat": now, "exp": now + 60, "jti": "1"}
    return {name: value for name, value in (valid | changed).items() if value is not ...}


def signed(kid: str | None = OURS_ID, headers: dict[str, Any] | None = None, **changed: Any) -> str:
    named = {} if kid is None else {"kid": kid}
    payload = json.dumps(claims(**changed)).encode()
    return jwt.PyJWS().encode(payload, OURS, algorithm="EdDSA", headers={**named, **(headers or {})})


def refused(verifier: TokenVerifier, token: str) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        verifier.verify(token)
    return caught.value


def later(offset: timedelta) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + offset


def test_a_token_names_its_subject_and_roles(issuer: TokenIssuer, settings: Settings) -> None:
    token = issuer.issue("mia@example.org", [Role.TRAINER, Role.VIEWER], HOUR)
    caller = open_verifier(settings).verify(token.text)
    assert caller.subject == "mia@example.org"
    assert caller.roles == {Role.TRAINER, Role.VIEWER}
    assert caller.token_id == token.token_id


def test_an_identity_providers_token_is_as_good_as_ours(verifier: TokenVerifier, theirs: RSAPrivateKey) -> None:
    roles = ["operator", "approver"]
    token = jwt.encode(claims(sub="auth0|5f7c", roles=roles), theirs, algorithm="RS256", headers={"kid": THEIRS_ID})
    caller = verifier.verify(token)
    assert caller.subject == "auth0|5f7c"
    assert caller.roles == {Role.OPERATOR, Role.APPROVER}
    verifier.verify(signed())


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
def test_a_token_holds_for_its_time_with_half_a_minute_of_leeway(jwks: Path, offset: timedelta, valid: bool) -> None:
    now = int(time.time())
    token = signed(iat=now, exp=now + 3600)
    verifier = TokenVerifier(jwks, issuer="acgs", audience="acgs", clock=later(offset))
    if valid:
        verifier.verify(token)
    else:
        refused(verifier, token)


@pytest.mark.parametrize(
    "changed",
    [
        {"roles": []},
        {"roles": ["emperor"]},
        {"roles": ["viewer", "emperor"]},
        {"roles": None},
        {"roles": 7},
        {"roles": [["viewer"]]},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "x\n"},
        {"sub": 7},
        {"jti": 7},
        {"exp": "soon"},
        {"exp": 1e300},
        {"iat": None},
        {"nbf": 1e11},
        {"nbf": "soon"},
        pytest.param({"exp": int(time.time() + MAX_LIFETIME.total_seconds() + 3600)}, id="exp too late"),
        {"iss": "somebody"},
        {"iss": ["acgs"]},
        {"aud": "somebody"},
        {"aud": ["acgs", "somebody"]},
        {"aud": ["acgs"]},
        {"aud": "ACGS"},
        {"aud": ""},
    ],
    ids=repr,
)
def test_signed_claims_that_make_no_sense_or_are_for_others_are_refused(
    verifier: TokenVerifier, changed: dict[str, Any]
) -> None:
    verifier.verify(signed())
    refused(verifier, signed(**changed))


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "roles", "iat", "exp", "jti"])
def test_every_claim_is_required(verifier: TokenVerifier, missing: str) -> None:
    without: dict[str, Any] = {missing: ...}
    refused(verifier, signed(**without))


def _segment(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _mac(header: dict[str, Any], secret: bytes) -> str:
    head = f"{_segment(header)}.{_segment(claims(roles=['admin']))}"
    mac = hmac.new(secret, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 7, []])
@pytest.mark.parametrize("kid", [OURS_ID, THEIRS_ID], ids=["ours", "theirs"])
def test_an_unsigned_token_is_refused(verifier: TokenVerifier, alg: Any, kid: str) -> None:
    head = _segment({"alg": alg, "typ": "JWT", "kid": kid})
    refused(verifier, f"{head}.{_segment(claims())}.")


def test_no_form_of_a_public_key_is_a_secret(verifier: TokenVerifier, jwks: Path, theirs: RSAPrivateKey) -> None:
    """HMAC with the public key as its secret (RFC 8725, sections 2.1 and 3.1)."""
    secrets: list[tuple[str, bytes]] = [(OURS_ID, OURS.public_key().public_bytes_raw()), (OURS_ID, jwks.read_bytes())]
    for kid, key in ((OURS_ID, OURS.public_key()), (THEIRS_ID, theirs.public_key())):
        forms = [key.public_bytes(form, PublicFormat.SubjectPublicKeyInfo) for form in (Encoding.PEM, Encoding.DER)]
        secrets += [(kid, form) for form in forms]
    for kid, secret in secrets:
        for alg in ("HS256", "EdDSA", "RS256"):
            refused(verifier, _mac({"alg": alg, "typ": "JWT", "kid": kid}, secret))


def test_a_key_stands_for_one_algorithm_and_one_identifier(verifier: TokenVerifier, theirs: RSAPrivateKey) -> None:
    def by_them(algorithm: str, **headers: Any) -> str:
        return jwt.encode(claims(), theirs, algorithm=algorithm, headers=headers)

    verifier.verify(by_them("RS256", kid=THEIRS_ID))
    for other in ("RS384", "RS512", "PS256"):
        refused(verifier, by_them(other, kid=THEIRS_ID))
    # The right signature under the other key's name, and a header that says what the key is not for.
    refused(verifier, by_them("RS256", kid=OURS_ID))
    refused(verifier, signed(THEIRS_ID))
    head, payload, signature = by_them("RS256", kid=THEIRS_ID).split(".")
    assert head != _segment({"alg": "EdDSA", "kid": THEIRS_ID})
    refused(verifier, ".".join((_segment({"alg": "EdDSA", "kid": THEIRS_ID}), payload, signature)))


@pytest.mark.parametrize(
    "kid", [None, "", "unknown", OURS_ID.upper(), f"../{OURS_ID}"], ids=["none", "empty", "unknown", "upper", "path"]
)
def test_a_token_must_name_a_key_that_counts(verifier: TokenVerifier, kid: str | None) -> None:
    refused(verifier, signed(kid))


def test_a_key_that_the_token_brings_along_counts_for_nothing(verifier: TokenVerifier) -> None:
    own = Ed25519PrivateKey.generate()
    entry = json.loads(write_keys([own.public_key()]))["keys"][0]
    for headers in ({"jwk": entry, "kid": OURS_ID}, {"jwk": entry}, {"jku": "http://127.0.0.1:1/jwks", "kid": "x"}):
        refused(verifier, jwt.encode(claims(), own, algorithm="EdDSA", headers=headers))


def test_extensions_that_we_do_not_know_are_refused(verifier: TokenVerifier) -> None:
    refused(verifier, signed(headers={"crit": ["acgs"], "acgs": True}))
    refused(verifier, signed(headers={"crit": ["b64"], "b64": True}))


@given(place=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
@hypothesis(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_token_with_any_byte_changed_is_refused(verifier: TokenVerifier, place: int, flip: int) -> None:
    # The last character of a segment may carry unused bits; whole bytes are flipped instead.
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in signed().split(".")]
    number = place % sum(map(len, parts))
    for index, part in enumerate(parts):
        if number < len(part):
            changed = bytearray(part)
            changed[number] ^= flip
            parts[index] = bytes(changed)
            break
        number -= len(part)
    refused(verifier, ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts))


@given(token=st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda b: b.decode("latin-1"))))
@hypothesis(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_makes_the_verifier_fail_otherwise(verifier: TokenVerifier, token: str) -> None:
    refused(verifier, token)


@given(header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from([OURS_ID, "EdDSA"])),
    lambda inner: st.lists(inner, max_size=3), max_leaves=3)))  # fmt: skip
@hypothesis(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_makes_the_verifier_fail_otherwise(verifier: TokenVerifier, header: dict[str, Any]) -> None:
    refused(verifier, f"{_segment(header)}.{_segment(claims())}.{'A' * 86}")


def test_without_a_usable_key_set_nobody_is_let_in(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("not a key set")
    for path in (tmp_path / "absent.json", broken, tmp_path):
        refused(TokenVerifier(path, issuer="acgs", audience="acgs"), signed())


def test_a_replaced_key_set_counts_from_the_next_request(verifier: TokenVerifier, jwks: Path) -> None:
    verifier.verify(signed())
    other = Ed25519PrivateKey.generate()
    jwks.write_bytes(write_keys([other.public_key()]))
    refused(verifier, signed())
    kid = key_id(other.public_key())
    assert verifier.verify(jwt.encode(claims(), other, algorithm="EdDSA", headers={"kid": kid})).subject == "mia"


def test_the_refusal_does_not_say_what_was_wrong(verifier: TokenVerifier) -> None:
    expired = signed(iat=1, exp=2)
    assert len({refused(verifier, token).message for token in ("", "x.y.z", expired, signed("nobody"))}) == 1


def test_whom_a_refused_token_names_is_known_only_where_a_counting_key_signed_it(verifier: TokenVerifier) -> None:
    stranger = jwt.encode(claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": OURS_ID})
    unsigned = f"{_segment({'alg': 'none', 'kid': OURS_ID})}.{_segment(claims())}."
    assert refused(verifier, stranger).subject is None
    assert refused(verifier, unsigned).subject is None
    assert refused(verifier, signed(iat=1, exp=2)).subject == "mia"


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_the_bearer_scheme_is_read_in_any_case(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_a_header_without_a_bearer_token_is_refused(header: str | None) -> None:
    with pytest.raises(AuthenticationError):
        bearer_token(header)
