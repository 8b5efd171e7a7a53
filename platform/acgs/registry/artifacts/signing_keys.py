"""The two keys that sign an artifact: Ed25519, ours, and ECDSA P-256, which the public `model-signing` tool knows.

`model-signing` 1.1.1 verifies ECDSA keys only (`_signing/sign_ec_key.py`), and only the first signature of an envelope.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from acgs.audit.keys import PublicKey, SigningKey
from acgs.errors import InvalidInputError
from acgs.files import write_once
from acgs.registry.artifacts.key_files import MODE, read_private

_HASH: Final = ec.ECDSA(hashes.SHA256())
ECDSA_SUFFIX: Final = ".ecdsa.pem"


class EcdsaPublicKey:
    """A P-256 public key."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        if not isinstance(key.curve, ec.SECP256R1):
            raise InvalidInputError("the ECDSA key is not on the curve P-256", field="public_key")
        self._key = key
        encoded = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.pem = encoded.decode("ascii")
        """SubjectPublicKeyInfo, as `model_signing verify key --public_key` takes it."""
        self.hint = hashlib.sha256(encoded).hexdigest()
        """How the tool names the key in a bundle."""

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """Parse PEM. Raises `InvalidInputError` if it is no P-256 public key."""
        try:
            key = serialization.load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidInputError("the ECDSA key file is not a PEM public key", field="public_key") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidInputError("the public key is no ECDSA key", field="public_key")
        return cls(key)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Say whether `signature` over `message` was made with the matching private key."""
        try:
            self._key.verify(signature, message, _HASH)
        except InvalidSignature:
            return False
        return True


class EcdsaKey:
    """A P-256 private key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = EcdsaPublicKey(key.public_key())

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read a PEM (PKCS8) file, or make it (mode 0600) if absent; processes that start together agree on one key.

        Raises:
            UnavailableError: it cannot be read.
            IntegrityError: others than its owner may use it.
            InvalidInputError: it holds no unencrypted P-256 private key.
        """
        if not path.exists():
            write_once(path, _new_pem(), mode=MODE)
        data = read_private(path)
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (TypeError, ValueError, UnsupportedAlgorithm):
            raise InvalidInputError(f"{path.name} is no unencrypted PEM private key", field="key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidInputError(f"{path.name} is no ECDSA key", field="key")
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """A DER signature over the message's SHA-256."""
        return self._key.sign(message, _HASH)


@dataclass(frozen=True, slots=True)
class VerificationKeys:
    """The public halves; both must have signed."""

    ed25519: PublicKey
    ecdsa: EcdsaPublicKey


@dataclass(frozen=True, slots=True)
class ReleaseKeys:
    """The private halves."""

    ed25519: SigningKey
    ecdsa: EcdsaKey

    @property
    def public(self) -> VerificationKeys:
        """What verifiers hold."""
        return VerificationKeys(self.ed25519.public, self.ecdsa.public)

    @classmethod
    def load_or_create(cls, signing_key: Path) -> Self:
        """The Ed25519 key in a file, and the ECDSA key beside it (`<name>.ecdsa.pem`); made if absent.

        Raises:
            UnavailableError, IntegrityError, InvalidInputError: see `SigningKey.load` and `EcdsaKey.load_or_create`.
        """
        beside = signing_key.with_name(signing_key.stem + ECDSA_SUFFIX)
        return cls(SigningKey.load_or_create(signing_key), EcdsaKey.load_or_create(beside))


def _new_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
