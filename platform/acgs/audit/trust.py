"""Which public keys a verifier trusts: given from outside, or those the installation itself published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from acgs.audit.keys import PublicKey
from acgs.audit.layout import AuditDirectory
from acgs.audit.notes import VerifierKey
from acgs.errors import InvalidInputError
from acgs.files import write_atomic


def trusted_keys(given: Sequence[str], origin: str) -> tuple[VerifierKey, ...]:
    """Parse keys given as text or as names of files.

    A text is a verifier key (`name+hash+base64`); a file holds verifier keys, one a line, or one PEM public key, which
    is taken for the log `origin`. Raises `InvalidInputError` if one is neither.
    """
    return tuple(key for item in given for key in _parse(_content(item), origin))


def published_keys(audit: AuditDirectory) -> tuple[VerifierKey, ...]:
    """Return the keys that the installation published. Raises `InvalidInputError` if it published none."""
    try:
        text = audit.public_keys.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        raise InvalidInputError("this installation has published no key; give --public-key") from None
    return _parse(text, "")


def publish_key(audit: AuditDirectory, key: VerifierKey) -> None:
    """Add a key to those the installation published, unless it is there."""
    lines = audit.public_keys.read_text(encoding="utf-8").splitlines() if audit.public_keys.exists() else []
    if str(key) not in lines:
        write_atomic(audit.public_keys, "".join(f"{line}\n" for line in [*lines, str(key)]).encode())


def _content(item: str) -> str:
    path = Path(item)
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else item
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the public key file {path.name} cannot be read as text") from error


def _parse(text: str, origin: str) -> tuple[VerifierKey, ...]:
    if text.lstrip().startswith("-----BEGIN"):
        return (VerifierKey(origin, PublicKey.from_pem(text)),)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InvalidInputError("the public key is empty; give a verifier key or a file that holds one")
    return tuple(VerifierKey.parse(line) for line in lines)
