"""The way in for a request with a token: lock-out, proof, rate."""

from __future__ import annotations

from acgs.security.lockout import Lockout, peer_name
from acgs.security.rate_limit import TokenBuckets
from acgs.security.roles import Caller
from acgs.security.tokens import AuthenticationError, TokenVerifier, bearer_token, open_verifier
from acgs.settings import Settings


class Admission:
    """Lets callers in, or says why not. One for all routes of a replica, so that failures at any of them count."""

    def __init__(self, verifier: TokenVerifier, lockout: Lockout, limiter: TokenBuckets) -> None:
        self._verifier = verifier
        self._lockout = lockout
        self._limiter = limiter

    def admit(self, authorization: str | None, peer: str) -> Caller:
        """Who asks, proven. Reads files, so it blocks.

        A token that does not hold counts against the peer's address, and against the subject where a key of ours did
        sign it (it has expired, or was revoked): an unsigned name locks nobody out. No token at all is no guess.

        Args:
            authorization: the request's `Authorization` header.
            peer: the address that the request came from.

        Raises:
            AuthenticationError: there is no token, or it does not hold.
            RateLimitedError: peer or subject is locked out, or the subject has spent its rate.
        """
        address = peer_name(peer)
        self._lockout.check(address)
        token = bearer_token(authorization)
        try:
            caller = self._verifier.verify(token)
        except AuthenticationError as error:
            self._lockout.failed(address)
            if error.subject is not None:
                self._lockout.failed(_subject_name(error.subject))
            raise
        self._lockout.check(_subject_name(caller.subject))
        self._limiter.spend(caller.subject)
        return caller


def open_admission(settings: Settings) -> Admission:
    """The way into an installation's services."""
    return Admission(
        open_verifier(settings),
        Lockout(failures=settings.lockout_failures),
        TokenBuckets(rate=settings.rate_limit_requests_per_second, burst=settings.rate_limit_burst_capacity),
    )


def _subject_name(subject: str) -> str:
    return f"subject {subject}"
