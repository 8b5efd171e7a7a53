"""Ed25519 keys: the signing key's file, its identifier, and the public half that verifiers hold.

A key identifier is the first 16 hex digits of the SHA-256 of the 32 raw public bytes.
"""

from __future__ import annotations

import base64
import os
import stat
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import write_once

KEY_FILE_MODE = 0o600
KEY_ID_DIGITS = 16


class PublicKey:
    """The public half: verifies signatures and has an identifier."""

    __slots__ = ("_key", "key_id", "raw")

    def __init__(self, raw: bytes) -> None:
        """Take the 32 raw bytes. Raises `InvalidInputError` if they are no Ed25519 public key."""
        try:
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as error:
            raise InvalidInputError("an Ed25519 public key has 32 bytes; export it again") from error
        self.raw = raw
        self.key_id = sha256(raw).hexdigest()[:KEY_ID_DIGITS]

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Say whether `signature` over `message` was made with the matching signing key."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def verify_text(self, signature: str, message: bytes) -> bool:
        """As `verify`, for a signature in base64; text that is none verifies nothing."""
        try:
            return self.verify(base64.b64decode(signature, validate=True), message)
        except ValueError:
            return False

    def pem(self) -> str:
        """Return the key as PEM (SubjectPublicKeyInfo)."""
        encoded = self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return encoded.decode("ascii")

    @classmethod
    def from_pem(cls, text: str) -> PublicKey:
        """Parse PEM. Raises `InvalidInputError` if it holds anything but an Ed25519 public key."""
        try:
            key = serialization.load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidInputError("the public key file is not a PEM public key; export it again") from error
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidInputError("the public key is not an Ed25519 key; give the one that belongs to the log")
        return cls(key.public_bytes_raw())


class SigningKey:
    """An Ed25519 private key with its public half."""

    __slots__ = ("_key", "public", "sign")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())
        self.sign = key.sign  # bytes -> 64-byte signature; bound once, it is on the decision's path

    def sign_text(self, message: bytes) -> str:
        """The signature over `message` in base64."""
        return base64.b64encode(self.sign(message)).decode("ascii")

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new random key that is stored nowhere."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a PEM (PKCS8) key file.

        Raises `UnavailableError` if it is absent, `IntegrityError` if others than its owner may use it,
        `InvalidInputError` if it holds no unencrypted Ed25519 private key.
        """
        try:
            with path.open("rb") as handle:
                mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
                data = handle.read()
        except OSError as error:
            raise UnavailableError(f"the signing key {path.name} cannot be read; check ACGS_SIGNING_KEY") from error
        if mode & 0o077:
            raise IntegrityError(
                f"the signing key {path.name} is open to others (mode {mode:04o}); replace it if it may have been "
                "copied, else run chmod 600 on it"
            )
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise InvalidInputError(f"{path.name} is not an unencrypted PEM private key (PKCS8)") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInputError(f"{path.name} is not an Ed25519 key; receipts are signed with Ed25519 only")
        return cls(key)

    @classmethod
    def load_or_create(cls, path: Path) -> SigningKey:
        """Read the key file, or create it (mode 0600) if absent; replicas that start together agree on one key."""
        if not path.exists():
            _create_key_file(path)
        return cls.load(path)


def _create_key_file(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_once(path, pem, mode=KEY_FILE_MODE)
