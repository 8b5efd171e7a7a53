"""Who wraps the keys of artifacts: a provider, either a key file beside the installation or a key service.

A provider's key never leaves it and wraps only other keys (32 random bytes each).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import write_atomic, write_once
from acgs.registry.artifacts.key_files import MODE, exclusively, read_private, unchanged
from acgs.registry.artifacts.manifest import WrappedKey

KEY_BYTES: Final = 32
_LINE: Final = "acgs-artifact-key-1"


class KeyProvider(Protocol):
    """Wraps and unwraps keys. Threads share an instance."""

    @property
    def key_id(self) -> str:
        """The key that `wrap` uses now."""
        ...

    def wrap(self, key: bytes) -> WrappedKey:
        """`key` for nobody but this provider.

        Raises:
            UnavailableError: the provider does not answer or refuses.
        """
        ...

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The key in `wrapped`.

        Raises:
            UnavailableError: the provider does not answer, refuses, or has no such key.
            IntegrityError: `wrapped` was changed, or was made with another key.
        """
        ...

    def kept(self) -> AbstractContextManager[None]:
        """Meanwhile no key is given up, so that what is wrapped can be put on record before anybody counts."""
        ...


class KeyFile:
    """AES-256 key wrap (RFC 3394) with keys from a file that only its owner may read.

    One key a line, the last in use; the earlier ones still unwrap. A key's identifier is the first 16 hex digits of a
    SHA-256 over it.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UnavailableError: it cannot be read.
            IntegrityError: others than its owner may use it.
            InvalidInputError: it is no key file.
        """
        # Where it is a link, the file that it names is written and locked, for all who share it.
        self._path = path.resolve()
        self._keys = _read(self._path)

    @classmethod
    def load_or_create(cls, path: Path) -> KeyFile:
        """Read the file, or make it (mode 0600) if absent; processes that start together agree on one key."""
        if not path.exists():
            write_once(path, _text([secrets.token_bytes(KEY_BYTES)]), mode=MODE)
        return cls(path)

    @property
    def key_id(self) -> str:
        """See `KeyProvider.key_id`. The file is read each time: another process may have rotated since."""
        self._keys = _read(self._path)
        return list(self._keys)[-1]

    def wrap(self, key: bytes) -> WrappedKey:
        """See `KeyProvider.wrap`."""
        key_id = self.key_id
        return WrappedKey(key_id=key_id, data=aes_key_wrap(self._keys[key_id], key).hex())

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """See `KeyProvider.unwrap`."""
        if wrapped.key_id not in self._keys:
            # Another process may have rotated since.
            self._keys = _read(self._path)
        if wrapped.key_id not in self._keys:
            raise UnavailableError(
                f"{self._path.name} does not hold the key {wrapped.key_id[:64]!r}; restore the key file that does",
                field="key",
            )
        return unwrap_key(self._keys[wrapped.key_id], bytes.fromhex(wrapped.data))

    def kept(self) -> AbstractContextManager[None]:
        """See `KeyProvider.kept`. It binds whoever changes the file on this host."""
        return unchanged(self._path)

    def rotate(self) -> str:
        """Add a new key and use it from now on; returns its identifier. What was wrapped stays readable."""
        with exclusively(self._path):
            keys = [*_read(self._path).values(), secrets.token_bytes(KEY_BYTES)]
            write_atomic(self._path, _text(keys), mode=MODE)
            self._keys = _read(self._path)
            return self.key_id

    def key_ids(self) -> list[str]:
        """All keys, oldest first; the last wraps."""
        return list(self._keys)

    def drop(self, key_id: str, *, under_it: Callable[[], int]) -> None:
        """Take an earlier key out; what is under it could not be read any more.

        Args:
            under_it: counts that, asked while nothing can be put under it.

        Raises:
            InvalidInputError: the file does not hold it, it is the one in use, or something is under it.
        """
        with exclusively(self._path):
            if needing := under_it():
                raise InvalidInputError(
                    f"{needing} wrapped keys need {key_id[:64]}; run 'acgs registry rewrap --apply' first",
                    field="key_id",
                )
            keys = _read(self._path)
            if key_id not in keys:
                raise InvalidInputError(f"{self._path.name} does not hold the key {key_id[:64]!r}", field="key_id")
            if key_id == list(keys)[-1]:
                raise InvalidInputError(f"{key_id} is in use; rotate first", field="key_id")
            kept = [key for name, key in keys.items() if name != key_id]
            write_atomic(self._path, _text(kept), mode=MODE)
            self._keys = _read(self._path)


def unwrap_key(by: bytes, data: bytes) -> bytes:
    """The key that `by` wrapped (RFC 3394).

    Raises:
        IntegrityError: it was changed, or was wrapped by another key.
    """
    try:
        return aes_key_unwrap(by, data)
    except (InvalidUnwrap, ValueError):
        raise IntegrityError("a wrapped key was changed, or belongs to another key", field="key") from None


def _key_id(key: bytes) -> str:
    return hashlib.sha256(_LINE.encode() + key).hexdigest()[:16]


def _text(keys: list[bytes]) -> bytes:
    return "".join(f"{_LINE} {base64.b64encode(key).decode()}\n" for key in keys).encode()


def _read(path: Path) -> dict[str, bytes]:
    try:
        lines = read_private(path).decode("ascii").splitlines()
    except UnicodeDecodeError:
        lines = []
    keys = [_parse(line, path) for line in lines if line]
    if not keys:
        raise InvalidInputError(f"{path.name} holds no artifact key", field="key")
    return {_key_id(key): key for key in keys}


def _parse(line: str, path: Path) -> bytes:
    word, _, text = line.partition(" ")
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if word != _LINE or len(key) != KEY_BYTES:
        raise InvalidInputError(f"{path.name} is no file of artifact keys", field="key")
    return key
