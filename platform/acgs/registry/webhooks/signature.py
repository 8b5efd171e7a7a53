"""Signatures of deliveries as in Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA256 over id, time and body.

A receiver verifies with any library of that standard and refuses what is older than some minutes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import write_once

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
_VERSION: Final = "v1"


class WebhookSecret:
    """The secret that the installation shares with its receivers."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    @classmethod
    def load_or_create(cls, path: Path) -> WebhookSecret:
        """Read the file ('whsec_' and base64), or make it (mode 0600) if absent.

        Raises:
            UnavailableError: it cannot be read.
            IntegrityError: others than its owner may read it.
            InvalidInputError: it holds no such secret.
        """
        if not path.exists():
            text = PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode() + "\n"
            write_once(path, text.encode(), mode=0o600)
        try:
            if path.stat().st_mode & 0o077:
                raise IntegrityError(f"the webhook secret {path.name} is open to others; run chmod 600 on it")
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"the webhook secret {path.name} cannot be read") from error
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> WebhookSecret:
        """From its text. Raises `InvalidInputError` if it is none; the text is not repeated."""
        try:
            raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raw = b""
        if not text.startswith(PREFIX) or not 24 <= len(raw) <= 64:
            raise InvalidInputError("a webhook secret is 'whsec_' and 24 to 64 bytes in base64", field="secret")
        return cls(raw)

    def headers(self, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """The three headers of a delivery; `timestamp` in seconds since 1970."""
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": f"{_VERSION},{self._mac(message_id, str(timestamp), body)}",
        }

    def verify(self, headers: dict[str, str], body: bytes) -> bool:
        """Whether a delivery is signed with this secret; what a receiver does."""
        expected = self._mac(headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""), body)
        given = headers.get("webhook-signature", "").split()
        return any(hmac.compare_digest(f"{_VERSION},{expected}", one) for one in given)

    def _mac(self, message_id: str, timestamp: str, body: bytes) -> str:
        signed = f"{message_id}.{timestamp}.".encode() + body
        return base64.b64encode(hmac.digest(self._raw, signed, hashlib.sha256)).decode()
