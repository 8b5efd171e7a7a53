"""Who acts at a terminal, or in a program that uses the library: the subject of a token, or this machine's user.

An installation that has never made or named token keys belongs to whoever can use its files: that user may do
everything but approve, because overriding a document that says FAIL takes two proven people. From the first key on,
whatever changes state needs a token.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.security.roles import Caller, Permission
from acgs.security.tokens import MAX_TOKEN_CHARS, AuthenticationError, open_verifier, token_folder
from acgs.settings import Settings

LOCAL_PERMISSIONS: Final = frozenset(Permission) - {Permission.MODEL_APPROVE}


def login_name() -> str:
    """The name of the user that this process runs as; what the environment says does not count."""
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid-{user}"


def current_caller(settings: Settings, *, local_user: Callable[[], str] = login_name) -> Caller:
    """Who acts.

    Raises:
        AuthenticationError: a token is needed and there is none, or it does not hold.
        InvalidInputError: two tokens are given.
        IntegrityError: others may read the token's file.
        UnavailableError: it cannot be read.
    """
    token = _token(settings)
    if token is not None:
        try:
            return open_verifier(settings).verify(token)
        except AuthenticationError as error:
            raise AuthenticationError(
                error.subject,
                message="the token of ACGS_TOKEN or ACGS_TOKEN_FILE does not hold (any more); "
                "get a new one with 'acgs token issue'",
            ) from None
    if settings.jwks_path is not None or token_folder(settings).exists():
        raise AuthenticationError(
            message="this installation asks who you are: set ACGS_TOKEN to a token of 'acgs token issue', or "
            "ACGS_TOKEN_FILE to a file with one"
        )
    return Caller(local_user(), frozenset(), None, LOCAL_PERMISSIONS)


def permitted_caller(settings: Settings, permission: Permission) -> Caller:
    """Who acts, and may.

    Raises:
        ForbiddenError: who acts may not do it.
        AcgsError: see `current_caller`.
    """
    caller = current_caller(settings)
    caller.require(permission)
    return caller


def _token(settings: Settings) -> str | None:
    if settings.token is not None and settings.token_file is not None:
        raise InvalidInputError("set ACGS_TOKEN or ACGS_TOKEN_FILE, not both", field="token")
    if settings.token_file is not None:
        return _read(settings.token_file)
    return None if settings.token is None else settings.token.get_secret_value().strip()


def _read(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            text = handle.read(MAX_TOKEN_CHARS + 2)
    except OSError as error:
        raise UnavailableError(f"the token file {path.name} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise IntegrityError(
            f"the token file {path.name} is open to others (mode {mode:04o}); run chmod 600 on it, and "
            "'acgs token revoke' if it may have been copied"
        )
    return text.decode("ascii", errors="replace").strip()
