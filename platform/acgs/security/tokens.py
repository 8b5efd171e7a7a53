"""Bearer tokens: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037, `alg` EdDSA) or RS256, and their check.

Who issues holds the private key; who verifies needs the public keys only, so that a service cannot mint tokens. The
keys come from a JWKS file: that of `acgs token`, or one that an identity provider's keys are copied into. A token of
such a provider carries our audience, and its roles in the claim `roles`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jwt

from acgs.errors import AcgsError
from acgs.security.jwks import TokenKey, read_keys
from acgs.security.replaced_file import ReplacedFile
from acgs.security.revocation import REVOKED_FILE, read_revoked
from acgs.security.roles import Caller, Role
from acgs.settings import Settings

TOKEN_FOLDER: Final = "tokens"  # noqa: S105 - a folder's name
JWKS_FILE: Final = "jwks.json"
MAX_LIFETIME: Final = timedelta(days=90)
LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of issuer and verifier may be apart."""
MAX_TOKEN_CHARS: Final = 8192
CLAIMS: Final = ("iss", "aud", "sub", "roles", "iat", "exp", "jti")
SUBJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@|:-]{0,127}", re.ASCII)

Clock = Callable[[], datetime]


class AuthenticationError(AcgsError):
    """The caller gave no token, or one that does not hold. What is wrong with it is not said.

    `subject` is whom a token names that we, or the provider, did sign, but that does not count now.
    """

    code = "unauthenticated"

    def __init__(
        self,
        subject: str | None = None,
        *,
        message: str = "a valid bearer token is needed; get one with 'acgs token issue'",
    ) -> None:
        super().__init__(message)
        self.subject = subject


def utc_now() -> datetime:
    """The clock of issuer and verifier."""
    return datetime.now(UTC)


class TokenVerifier:
    """Checks tokens. Keys and revocations that are replaced count from the next request."""

    def __init__(
        self, jwks: Path, *, issuer: str, audience: str, revoked: Path | None = None, clock: Clock = utc_now
    ) -> None:
        """
        Args:
            jwks: the public keys.
            issuer: what `iss` must be.
            audience: what `aud` must be: this one text, no list.
            revoked: the list of tokens that were called back; a file that is not there means none.
        """
        self._keys = ReplacedFile(jwks, read_keys)
        self._issuer = issuer
        self._audience = audience
        self._revoked_path = revoked
        self._revoked = None if revoked is None else ReplacedFile(revoked, read_revoked)
        self._clock = clock

    def verify(self, token: str) -> Caller:
        """Who the token names.

        Raises:
            AuthenticationError: it is none of ours, not valid now, or there is no usable key to tell.
        """
        try:
            claims = self._signed_claims(token)
        except (jwt.PyJWTError, AcgsError, OSError, ValueError, TypeError, KeyError):
            raise AuthenticationError from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
            raise AuthenticationError
        try:
            roles = frozenset(Role(role) for role in claims["roles"])
            holds = bool(roles) and self._is_timely(claims) and not self._is_revoked(claims["jti"])
        except (AcgsError, OSError, ValueError, TypeError, OverflowError):
            holds = False
        if not holds:
            raise AuthenticationError(subject)
        return Caller(subject, roles, claims["jti"])

    def _signed_claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise ValueError("too long")
        key: TokenKey = self._keys.look()[jwt.get_unverified_header(token)["kid"]]
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            # The key's, whatever the header says: another there is refused.
            algorithms=[key.algorithm],
            issuer=self._issuer,
            audience=self._audience,
            # Times are checked below, by the clock that was given.
            options={
                "require": list(CLAIMS),
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        return claims

    def _is_timely(self, claims: dict[str, Any]) -> bool:
        moments = (claims["iat"], claims.get("nbf", claims["iat"]), claims["exp"])
        issued, begins, expires = (datetime.fromtimestamp(moment, UTC) for moment in moments)
        now = self._clock()
        return max(issued, begins) - LEEWAY <= now < expires + LEEWAY and expires - issued <= MAX_LIFETIME

    def _is_revoked(self, token_id: str) -> bool:
        """A list that is there and cannot be read lets nobody in."""
        if self._revoked is None or self._revoked_path is None or not self._revoked_path.exists():
            return False
        return token_id in self._revoked.look()


def token_folder(settings: Settings) -> Path:
    """Where `acgs token` keeps keys and revocations."""
    return settings.state_dir.resolve() / TOKEN_FOLDER


def open_verifier(settings: Settings) -> TokenVerifier:
    """The verifier of an installation."""
    folder = token_folder(settings)
    return TokenVerifier(
        settings.jwks_path or folder / JWKS_FILE,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        revoked=folder / REVOKED_FILE,
    )


def bearer_token(header: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750).

    Raises:
        AuthenticationError: there is none.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthenticationError
    return token.strip()
