"""Tokens that were called back before their time: a small file, read like the keys."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from acgs.errors import IntegrityError, InvalidInputError
from acgs.files import write_atomic

REVOKED_FILE: Final = "revoked.json"
MAX_ID_CHARS: Final = 256


def read_revoked(data: bytes) -> dict[str, datetime]:
    """When each token was called back, by its identifier.

    Raises:
        IntegrityError: it is no such list.
    """
    try:
        return {str(name): datetime.fromisoformat(at) for name, at in json.loads(data)["revoked"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError("the list of revoked tokens cannot be read; restore it from a backup") from error


def revoke(path: Path, token_id: str, *, now: datetime, forget_after: timedelta) -> None:
    """Add a token to the list. Those that have expired since are dropped, so the list stays short.

    Args:
        forget_after: no token is valid longer than this after it was issued.

    Raises:
        InvalidInputError: that is no token's identifier.
        IntegrityError: the list cannot be read.
    """
    if not token_id.strip() or len(token_id) > MAX_ID_CHARS:
        raise InvalidInputError(f"give the claim 'jti' of the token, at most {MAX_ID_CHARS} characters", field="jti")
    known = read_revoked(path.read_bytes()) if path.exists() else {}
    kept = {name: at for name, at in known.items() if now - at <= forget_after} | {token_id: now}
    document = {"revoked": {name: at.isoformat() for name, at in kept.items()}}
    write_atomic(path, json.dumps(document, indent=1).encode() + b"\n")
