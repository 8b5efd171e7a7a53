"""Bearer tokens: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037, `alg` EdDSA).

Who issues holds the private key; who verifies needs the public half only, so that a service cannot mint tokens.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from acgs.errors import AcgsError, IntegrityError, InvalidInputError, UnavailableError
from acgs.files import sync_directory, write_atomic
from acgs.security.roles import Caller, Role

TOKEN_FOLDER: Final = "tokens"  # noqa: S105 - a folder's name
PRIVATE_KEY_FILE: Final = "private.pem"
PUBLIC_KEY_FILE: Final = "public.pem"
MAX_LIFETIME: Final = timedelta(days=90)
LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of issuer and verifier may be apart."""
MAX_TOKEN_CHARS: Final = 4096

_ALGORITHM: Final = "EdDSA"
_CLAIMS: Final = ("sub", "roles", "iat", "exp", "jti")
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}", re.ASCII)

Clock = Callable[[], datetime]


class AuthenticationError(AcgsError):
    """The caller gave no token, or one that does not hold. What is wrong with it is not said."""

    code = "unauthenticated"

    def __init__(self) -> None:
        super().__init__("a valid bearer token is needed; get one with 'acgs token issue'")


def _now() -> datetime:
    return datetime.now(UTC)


class TokenIssuer:
    """Signs tokens."""

    def __init__(self, key: Ed25519PrivateKey, clock: Clock = _now) -> None:
        self._key = key
        self._clock = clock

    @classmethod
    def open(cls, private_key: Path, public_key: Path) -> TokenIssuer:
        """Read the private key, or make one (mode 0600) on first use; the public half is written for the services.

        Raises:
            IntegrityError: others than its owner may read the key.
            InvalidInputError: the file holds no unencrypted Ed25519 key.
        """
        if not private_key.exists():
            _create_key(private_key)
        key = _read_key(private_key)
        half = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if not public_key.exists() or public_key.read_bytes() != half:
            write_atomic(public_key, half)
        return cls(key)

    def issue(self, subject: str, roles: Iterable[Role], lifetime: timedelta) -> str:
        """A token for `subject`, valid from now for `lifetime`.

        Raises:
            InvalidInputError: the subject is no plain name, there is no role, or the lifetime is out of bounds.
        """
        named = sorted(set(roles))
        if not _SUBJECT.fullmatch(subject):
            raise InvalidInputError("a subject has 1 to 128 letters, digits and . _ @ -", field="subject")
        if not named:
            raise InvalidInputError("give at least one role", field="role")
        if not timedelta(0) < lifetime <= MAX_LIFETIME:
            raise InvalidInputError(f"a token lives at most {MAX_LIFETIME.days} days", field="lifetime")
        now = self._clock()
        claims = {"sub": subject, "roles": named, "iat": now, "exp": now + lifetime, "jti": str(uuid.uuid4())}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)


class TokenVerifier:
    """Checks tokens against the public key in a file. A key that is replaced counts from the next request."""

    def __init__(self, public_key: Path, clock: Clock = _now) -> None:
        self._path = public_key
        self._clock = clock
        self._read: tuple[bytes, Ed25519PublicKey] | None = None

    def verify(self, token: str) -> Caller:
        """Who the token names.

        Raises:
            AuthenticationError: it is none of ours, not valid now, or there is no usable key to tell.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise AuthenticationError
        try:
            claims = jwt.decode(
                token,
                self._key(),
                algorithms=[_ALGORITHM],
                # Times are checked below, by the clock that was given.
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            issued, expires = (datetime.fromtimestamp(claims[name], UTC) for name in ("iat", "exp"))
            roles = frozenset(Role(role) for role in claims["roles"])
        except (jwt.PyJWTError, OSError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
            raise AuthenticationError from None
        subject, token_id, now = claims["sub"], claims["jti"], self._clock()
        timely = issued - LEEWAY <= now < expires + LEEWAY and expires - issued <= MAX_LIFETIME
        if not timely or not roles or not _SUBJECT.fullmatch(subject):
            raise AuthenticationError
        return Caller(subject, roles, token_id)

    def _key(self) -> Ed25519PublicKey:
        pem = self._path.read_bytes()
        if self._read is None or self._read[0] != pem:
            key = load_pem_public_key(pem)
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("not an Ed25519 key")
            self._read = (pem, key)
        return self._read[1]


def bearer_token(header: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750).

    Raises:
        AuthenticationError: there is none.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthenticationError
    return token.strip()


def _create_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_atomic(draft, pem, mode=0o600)
    try:
        # A link, unlike a rename, fails if another process was first: its key stands.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
        sync_directory(path.parent)


def _read_key(path: Path) -> Ed25519PrivateKey:
    try:
        with path.open("rb") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            pem = handle.read()
    except OSError as error:
        raise UnavailableError(f"the token key {path.name} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise IntegrityError(
            f"the token key {path.name} is open to others (mode {mode:04o}); delete it if it may have been copied, "
            "else run chmod 600 on it"
        )
    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInputError(f"{path.name} is no unencrypted PEM private key", field="key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInputError(f"{path.name} is not an Ed25519 key", field="key")
    return key
