"""The one error base. A message says what is wrong and what to do about it.

`code` names the kind of failure for machines (metrics label, JSON `error.code`); HTTP and CLI map it
once, in `serve_apps.http` and `acgs.cli.main`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class AcgsError(Exception):
    """Base of every error ACGS raises on purpose."""

    code = "error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInputError(AcgsError):
    """The caller sent something that cannot be used; `field` names it."""

    code = "validation"


class ConstitutionMismatchError(AcgsError):
    """A label, digest or lock does not name the constitution in force."""

    code = "constitution_mismatch"


class IntegrityError(AcgsError):
    """Stored bytes do not match their digest or signature."""

    code = "integrity"


class UnavailableError(AcgsError):
    """A part that the answer needs is missing, down or too slow; the caller gets a 'no' with this reason."""

    code = "unavailable"


class AuditWriteError(UnavailableError):
    """The decision's record could not be written, so the decision is not given."""

    code = "audit"


class RateLimitedError(AcgsError):
    """The caller spent its budget; `retry_after` is in seconds."""

    code = "rate_limit"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def first_fault(error: ValidationError, *, whole: str) -> tuple[str, str]:
    """Field and message of the first thing that is wrong; what was given is not repeated, for it may be a secret.

    Args:
        whole: the field where all of it is at fault.
    """
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ".".join(str(part) for part in first["loc"]) or whole, first["msg"]
