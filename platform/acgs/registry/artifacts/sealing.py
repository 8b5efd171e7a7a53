"""How a chunk becomes the bytes that are stored, and back: zstd, then AES-256-GCM.

One random secret of the registry, kept wrapped by the key provider, gives two sub-keys (HKDF, RFC 5869). From the
SHA-256 of a chunk's plain bytes they make, by HMAC, the chunk's name and the chunk's own key. So

- equal chunks of any two artifacts have one name and one key, whoever stores them: they are stored once, two writers
  need not talk to each other, and an interrupted transfer finds what it had sent;
- who sees only the store cannot test whether it holds a file that he knows: names are keyed;
- every artifact has a random key of its own that wraps the keys of its chunks (RFC 3394) in its manifest. Who is given
  one artifact's key reads that artifact and no other, and needs no secret of the registry; a new key-encryption key
  rewraps 32 bytes an artifact and touches no chunk.

A chunk's key encrypts that chunk's bytes only, but not always compressed alike (another zstd, another level). The nonce
is therefore taken from the compressed bytes by HMAC under the chunk's key, as in a synthetic-IV mode: a nonce comes
twice only with the same message, and then gives the same stored bytes. These are thus a function of secret, content
and compressor, which is how a writer knows, without reading it back, that the chunk in the store is the one it made.

The associated data are the chunk's name and how it is packed: bytes stored under another chunk's name do not open.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from acgs.errors import IntegrityError
from acgs.registry.artifacts.keys import KEY_BYTES, unwrap_key

LEVEL: Final = 3
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
OVERHEAD: Final = 1 + NONCE_BYTES + TAG_BYTES
_PLAIN: Final = b"\x01"
_ZSTD: Final = b"\x02"
_LABEL: Final = b"acgs-chunk/1 "


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A chunk ready to be stored."""

    name: str
    key: bytes = field(repr=False)
    stored: bytes = field(repr=False)


class Sealer:
    """Seals chunks under a registry's secret. Threads share an instance."""

    def __init__(self, secret: bytes, *, level: int = LEVEL) -> None:
        self._names = HKDFExpand(SHA256(), KEY_BYTES, _LABEL + b"name").derive(secret)
        self._keys = HKDFExpand(SHA256(), KEY_BYTES, _LABEL + b"key").derive(secret)
        self._level = level

    def seal(self, plain: bytes, digest: bytes) -> SealedChunk:
        """Compress and encrypt `plain`, whose SHA-256 is `digest`."""
        name = hmac.digest(self._names, digest, "sha256").hex()
        key = hmac.digest(self._keys, digest, "sha256")
        packed, message = _ZSTD, zstandard.ZstdCompressor(level=self._level).compress(plain)
        if len(message) >= len(plain):
            packed, message = _PLAIN, plain
        nonce = hmac.digest(key, packed + hashlib.sha256(message).digest(), "sha256")[:NONCE_BYTES]
        sealed = AESGCM(key).encrypt(nonce, message, _place(name, packed))
        return SealedChunk(name, key, b"".join((packed, nonce, sealed)))


def open_chunk(name: str, key: bytes, stored: bytes, size: int) -> bytes:
    """The plain bytes of a stored chunk, `size` of them.

    Raises:
        IntegrityError: the key is another chunk's, or the stored bytes are not what was sealed under this name.
    """
    packed, nonce, sealed = stored[:1], stored[1 : 1 + NONCE_BYTES], memoryview(stored)[1 + NONCE_BYTES :]
    try:
        message = AESGCM(key).decrypt(nonce, sealed, _place(name, packed))
    except (InvalidTag, ValueError):
        raise IntegrityError(f"chunk {name[:16]} does not open: wrong key, or changed bytes", field="chunk") from None
    if packed == _ZSTD:
        message = _decompressed(name, message, size)
    if len(message) != size:
        raise IntegrityError(f"chunk {name[:16]} holds {len(message)} bytes, not {size}", field="chunk")
    return message


def wrap_chunk_key(artifact_key: bytes, key: bytes) -> bytes:
    """A chunk's key for one artifact's manifest (RFC 3394)."""
    return aes_key_wrap(artifact_key, key)


def unwrap_chunk_key(artifact_key: bytes, wrapped: bytes) -> bytes:
    """The chunk's key again. Raises `IntegrityError` if the artifact's key is not the one that wrapped it."""
    return unwrap_key(artifact_key, wrapped)


def _decompressed(name: str, message: bytes, size: int) -> bytes:
    try:
        # The size is looked at first: a frame may claim any, and memory is taken for it.
        if zstandard.frame_content_size(message) == size:
            return zstandard.ZstdDecompressor().decompress(message)
    except zstandard.ZstdError:
        pass
    raise IntegrityError(f"chunk {name[:16]} does not decompress to {size} bytes", field="chunk")


def _place(name: str, packed: bytes) -> bytes:
    return _LABEL + name.encode() + packed
