"""Sets of public keys (JSON Web Key Set, RFC 7517) under which tokens are verified: our own, or an identity provider's.

Each key stands for one algorithm, whatever a token's header says (RFC 8725, section 3.1).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from acgs.errors import IntegrityError

ED25519: Final = "EdDSA"
RSA: Final = "RS256"
MAX_BYTES: Final = 1 << 20
FEWEST_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 8192
"""A larger one is a way to keep us busy."""
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A public key, its identifier, and the one algorithm it is good for."""

    kid: str
    algorithm: str
    key: Ed25519PublicKey | RSAPublicKey


def key_id(key: Ed25519PublicKey) -> str:
    """The identifier of a key of ours: the first 16 hex digits of the SHA-256 of the raw key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def read_keys(data: bytes) -> dict[str, TokenKey]:
    """The keys of a set by identifier. Keys of other kinds and uses, and those without `kid`, are passed over.

    Raises:
        IntegrityError: it is no set, names a key twice, or gives away a private key.
    """
    if len(data) > MAX_BYTES:
        raise IntegrityError(f"the key set has more than {MAX_BYTES} bytes", field="jwks")
    try:
        entries = json.loads(data)["keys"]
        entries = [dict(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError("the key set is no JWKS (RFC 7517)", field="jwks") from error
    if any(_PRIVATE_MEMBERS & entry.keys() for entry in entries):
        raise IntegrityError("the key set gives away a private key: replace that key, then the set", field="jwks")
    found: dict[str, TokenKey] = {}
    for entry in entries:
        key = _usable(entry)
        if key is None:
            continue
        if key.kid in found:
            raise IntegrityError(f"the key set names the key {key.kid[:64]!r} twice", field="jwks")
        found[key.kid] = key
    return found


def write_keys(keys: Iterable[Ed25519PublicKey]) -> bytes:
    """A set of Ed25519 keys."""
    entries = [
        {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ED25519, "kid": key_id(key), "x": _text(key)}
        for key in keys
    ]
    return json.dumps({"keys": entries}, indent=1).encode() + b"\n"


def _text(key: Ed25519PublicKey) -> str:
    return base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()


def _usable(entry: dict[str, Any]) -> TokenKey | None:
    kid, kind = entry.get("kid"), entry.get("kty")
    if not isinstance(kid, str) or not kid or entry.get("use", "sig") != "sig":
        return None
    algorithm = entry.get("alg")
    try:
        if "verify" not in (entry.get("key_ops") or ["verify"]):
            return None
        if kind == "OKP" and entry.get("crv") == "Ed25519" and algorithm in (None, ED25519, "Ed25519"):
            return TokenKey(kid, ED25519, Ed25519PublicKey.from_public_bytes(_bytes(entry["x"])))
        if kind == "RSA" and algorithm in (None, RSA):
            return _rsa(kid, int.from_bytes(_bytes(entry["n"])), int.from_bytes(_bytes(entry["e"])))
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        return None
    return None


def _rsa(kid: str, modulus: int, exponent: int) -> TokenKey | None:
    if not FEWEST_RSA_BITS <= modulus.bit_length() <= MOST_RSA_BITS:
        return None
    return TokenKey(kid, RSA, RSAPublicNumbers(exponent, modulus).public_key())


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
