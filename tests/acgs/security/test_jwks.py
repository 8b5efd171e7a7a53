"""Which keys of a set count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from acgs.errors import IntegrityError
from acgs.security.jwks import key_id, read_keys, write_keys

KEY = Ed25519PrivateKey.generate()
OURS: dict[str, Any] = json.loads(write_keys([KEY.public_key()]))["keys"][0]


def rsa(bits: int = 2048, **fields: Any) -> dict[str, Any]:
    entry = RSAAlgorithm.to_jwk(generate_private_key(65537, bits).public_key(), as_dict=True)
    return {**entry, "key_ops": ["verify"], "kid": "rsa", **fields}


def read(*entries: Any) -> dict[str, str]:
    return {kid: key.algorithm for kid, key in read_keys(json.dumps({"keys": entries}).encode()).items()}


def test_what_is_written_reads_back() -> None:
    (read_back,) = read_keys(write_keys([KEY.public_key()])).values()
    assert read_back.kid == key_id(KEY.public_key())
    assert read_back.key == KEY.public_key()


def test_the_kind_of_key_says_its_algorithm() -> None:
    bare = {name: OURS[name] for name in ("kty", "crv", "x", "kid")}
    assert read(bare, rsa(use="sig")) == {OURS["kid"]: "EdDSA", "rsa": "RS256"}


def test_keys_that_are_not_for_this_are_passed_over() -> None:
    ec = {**ECAlgorithm.to_jwk(generate_ec(SECP256R1()).public_key(), as_dict=True), "kid": "ec"}
    others = [
        ec,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "mac", "alg": "HS256"},
        rsa(use="enc"),
        rsa(alg="RS512"),
        rsa(alg="RSA-OAEP"),
        rsa(alg="EdDSA"),
        rsa(alg="HS256"),
        rsa(key_ops=["encrypt"]),
        rsa(bits=1024),
        rsa(kid=""),
        rsa(kid=7),
        {**rsa(), "n": "!"},
        {**OURS, "kid": "short", "x": OURS["x"][:-4]},
        {**OURS, "kid": "curve", "crv": "X25519"},
        {**OURS, "kid": "alg", "alg": "RS256"},
        {name: value for name, value in OURS.items() if name != "kid"},
    ]
    assert read(*others, OURS) == {OURS["kid"]: "EdDSA"}


def test_a_set_with_a_private_key_or_with_one_name_for_two_keys_is_refused() -> None:
    private = {**OKPAlgorithm.to_jwk(KEY, as_dict=True), "kid": "leaked"}
    with pytest.raises(IntegrityError, match="private key"):
        read(OURS, private)
    with pytest.raises(IntegrityError, match="twice"):
        read(OURS, rsa(kid=OURS["kid"]))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"keys": 1}', b'{"keys": [1]}', b"\xff", b"[" * 100_000, b" " * (1 << 20) + b"{}"]
)
def test_what_is_no_set_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_keys(data)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


@given(changes=st.dictionaries(st.sampled_from([*OURS, "key_ops", "n", "e"]), JSON, max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_entry_makes_the_reader_fail_otherwise(changes: dict[str, Any]) -> None:
    for entry in (OURS | changes, {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"} | changes):
        read(entry)
