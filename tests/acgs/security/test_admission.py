"""The way in: lock-out, proof, rate, in this order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from acgs.errors import RateLimitedError
from acgs.security.admission import Admission
from acgs.security.issuing import TokenIssuer
from acgs.security.lockout import Lockout
from acgs.security.rate_limit import TokenBuckets
from acgs.security.roles import Role
from acgs.security.tokens import AuthenticationError, open_verifier
from acgs.settings import Settings

HOUR = timedelta(hours=1)
LIMIT = 3
FORGED = "Bearer a.b.c"


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(settings: Settings, clock: Clock) -> Admission:
    return Admission(
        open_verifier(settings),
        Lockout(failures=LIMIT, clock=clock),
        TokenBuckets(rate=1, burst=5, clock=clock),
    )  # fmt: skip


def header(issuer: TokenIssuer, subject: str = "mia") -> str:
    return f"Bearer {issuer.issue(subject, [Role.VIEWER], HOUR).text}"


def revoked(issuer: TokenIssuer, subject: str = "mia") -> str:
    """A token that was once right."""
    token = issuer.issue(subject, [Role.VIEWER], HOUR)
    issuer.revoke(token.token_id)
    return f"Bearer {token.text}"


def fail(admission: Admission, authorization: str, peer: str, times: int = LIMIT) -> None:
    for _ in range(times):
        with pytest.raises(AuthenticationError):
            admission.admit(authorization, peer)


def test_a_right_token_lets_in(admission: Admission, issuer: TokenIssuer) -> None:
    assert admission.admit(header(issuer), "10.0.0.1").subject == "mia"


def test_a_locked_peer_with_a_right_token_waits_until_the_lock_ends(
    admission: Admission, issuer: TokenIssuer, clock: Clock
) -> None:
    fail(admission, FORGED, "10.0.0.1")
    with pytest.raises(RateLimitedError) as caught:
        admission.admit(header(issuer), "10.0.0.1")
    assert admission.admit(header(issuer), "10.0.0.2").subject == "mia"
    clock.now += caught.value.retry_after
    assert admission.admit(header(issuer), "10.0.0.1").subject == "mia"


def test_a_success_in_between_takes_no_failure_back(admission: Admission, issuer: TokenIssuer) -> None:
    for _ in range(LIMIT):
        admission.admit(header(issuer), "10.0.0.1")
        fail(admission, FORGED, "10.0.0.1", 1)
    with pytest.raises(RateLimitedError):
        admission.admit(header(issuer), "10.0.0.1")


def test_a_subject_whose_old_token_is_tried_from_everywhere_is_locked(
    admission: Admission, issuer: TokenIssuer
) -> None:
    old = revoked(issuer)
    for number in range(LIMIT):
        fail(admission, old, f"10.0.0.{number}", 1)
    with pytest.raises(RateLimitedError):
        admission.admit(header(issuer), "10.0.0.9")
    assert admission.admit(header(issuer, "noor"), "10.0.0.9").subject == "noor"


def test_a_forged_name_locks_nobody_out(admission: Admission, issuer: TokenIssuer) -> None:
    right = header(issuer)
    head, _, signature = right.rpartition(".")
    for number in range(LIMIT * 2):
        fail(admission, f"{head}.{signature[::-1]}", f"10.0.0.{number}", 1)
    assert admission.admit(right, "10.0.1.1").subject == "mia"


def test_no_token_is_no_guess(admission: Admission, issuer: TokenIssuer) -> None:
    for absent in (None, "", "Basic bWlh"):
        fail(admission, absent or "", "10.0.0.1", LIMIT * 2)
    assert admission.admit(header(issuer), "10.0.0.1").subject == "mia"


def test_the_rate_is_the_subjects_from_whichever_address(admission: Admission, issuer: TokenIssuer) -> None:
    for number in range(5):
        admission.admit(header(issuer), f"10.0.0.{number}")
    with pytest.raises(RateLimitedError):
        admission.admit(header(issuer), "10.0.0.9")
    assert admission.admit(header(issuer, "noor"), "10.0.0.1").subject == "noor"
