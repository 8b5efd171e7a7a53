"""Issues tokens, and keeps the keys for it: one that signs, and those whose tokens still count.

In the folder: `private.pem` (mode 0600), the key that signs; `jwks.json`, all keys that count. A rotation throws the
old private key away, so that only tokens made before it are under the old key.
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import write_atomic
from acgs.security.jwks import ED25519, key_id, read_keys, write_keys
from acgs.security.revocation import REVOKED_FILE, revoke
from acgs.security.roles import Role
from acgs.security.tokens import JWKS_FILE, LEEWAY, MAX_LIFETIME, SUBJECT, Clock, token_folder, utc_now
from acgs.settings import Settings

PRIVATE_KEY_FILE: Final = "private.pem"
LOCK_FILE: Final = ".lock"


class IssuedToken(NamedTuple):
    """A token, and the identifier by which it can be revoked."""

    text: str
    token_id: str
    expires: datetime


class TokenIssuer:
    """Signs tokens for one issuer and audience."""

    def __init__(self, folder: Path, *, issuer: str, audience: str, clock: Clock = utc_now) -> None:
        """
        Args:
            folder: of the keys; made with a first key when a token is issued.
        """
        self._folder = folder
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    @classmethod
    def open(cls, settings: Settings) -> TokenIssuer:
        """The issuer of an installation."""
        return cls(token_folder(settings), issuer=settings.token_issuer, audience=settings.token_audience)

    def issue(self, subject: str, roles: Iterable[Role], lifetime: timedelta) -> IssuedToken:
        """A token for `subject`, valid from now for `lifetime`.

        Raises:
            InvalidInputError: the subject is no plain name, there is no role, or the lifetime is out of bounds.
            IntegrityError: others than its owner may read the key, or the key does not count any more.
        """
        named = sorted(set(roles))
        if not SUBJECT.fullmatch(subject):
            raise InvalidInputError("a subject has 1 to 128 letters, digits and . _ @ | : -", field="subject")
        if not named:
            raise InvalidInputError("give at least one role", field="role")
        if not timedelta(0) < lifetime <= MAX_LIFETIME:
            raise InvalidInputError(f"a token lives at most {MAX_LIFETIME.days} days", field="lifetime")
        with self._locked():
            key = self._signing_key()
        now = self._clock()
        token_id, expires = str(uuid.uuid4()), now + lifetime
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "roles": named,
            "iat": now,
            "exp": expires,
            "jti": token_id,
        }
        text = jwt.encode(claims, key, algorithm=ED25519, headers={"kid": key_id(key.public_key())})
        return IssuedToken(text, token_id, expires)

    def rotate(self) -> str:
        """Sign with a new key from now on; tokens under the old ones count until those are retired.

        Returns:
            The new key's identifier.

        Raises:
            IntegrityError: the key set cannot be read.
        """
        with self._locked():
            key = Ed25519PrivateKey.generate()
            # The set first: a crash in between leaves a key that nothing is signed with.
            self._write_set([*self._counting(), key.public_key()])
            self._write_private(key)
            return key_id(key.public_key())

    def retire(self, kid: str) -> None:
        """Let a key, and so every token under it, count no more.

        Raises:
            InvalidInputError: there is no such key, or it is the one that signs.
            IntegrityError: the key set cannot be read.
        """
        with self._locked():
            counting = {key_id(key): key for key in self._counting()}
            if kid not in counting:
                known = ", ".join(counting) or "none"
                raise InvalidInputError(f"no such key; those that count: {known}", field="kid")
            if self._private.exists() and key_id(_read_key(self._private).public_key()) == kid:
                raise InvalidInputError(
                    "this key signs; make another with 'acgs token rotate', then retire it", field="kid"
                )
            self._write_set(key for name, key in counting.items() if name != kid)

    def revoke(self, token_id: str) -> None:
        """Let one token count no more.

        Raises:
            InvalidInputError: that is no token's identifier.
            IntegrityError: the list of revoked tokens cannot be read.
        """
        with self._locked():
            now = self._clock()
            revoke(self._folder / REVOKED_FILE, token_id, now=now, forget_after=MAX_LIFETIME + 2 * LEEWAY)

    def key_ids(self) -> list[str]:
        """The keys that count, oldest first; the last one signs.

        Raises:
            IntegrityError: the key set cannot be read.
        """
        return [key_id(key) for key in self._counting()]

    @property
    def _private(self) -> Path:
        return self._folder / PRIVATE_KEY_FILE

    @property
    def _set(self) -> Path:
        return self._folder / JWKS_FILE

    def _signing_key(self) -> Ed25519PrivateKey:
        if not self._private.exists():
            self._write_private(Ed25519PrivateKey.generate())
        key = _read_key(self._private)
        if not self._set.exists():
            self._write_set([key.public_key()])
        elif key_id(key.public_key()) not in self.key_ids():
            raise IntegrityError(f"the key that signs is not in {JWKS_FILE}; run 'acgs token rotate'", field="jwks")
        return key

    def _counting(self) -> list[Ed25519PublicKey]:
        try:
            found = read_keys(self._set.read_bytes())
        except FileNotFoundError:
            return []
        if any(key.algorithm != ED25519 for key in found.values()):
            raise IntegrityError(
                f"{JWKS_FILE} of 'acgs token' holds others' keys; keep those in a file of their own (ACGS_JWKS)",
                field="jwks",
            )
        return [key.key for key in found.values() if isinstance(key.key, Ed25519PublicKey)]

    def _write_set(self, keys: Iterable[Ed25519PublicKey]) -> None:
        write_atomic(self._set, write_keys(keys))

    def _write_private(self, key: Ed25519PrivateKey) -> None:
        write_atomic(self._private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(f"the folder of token keys cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _read_key(path: Path) -> Ed25519PrivateKey:
    try:
        with path.open("rb") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            pem = handle.read()
    except OSError as error:
        raise UnavailableError(f"the token key {path.name} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise IntegrityError(
            f"the token key {path.name} is open to others (mode {mode:04o}); run 'acgs token rotate' and retire the "
            "old key if it may have been copied, else run chmod 600 on it"
        )
    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInputError(f"{path.name} is no unencrypted PEM private key", field="key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInputError(f"{path.name} is not an Ed25519 key", field="key")
    return key
