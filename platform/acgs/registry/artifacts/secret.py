"""The registry's secret, from which chunks get names and keys: made once, kept in the store, wrapped by the provider.

Only writers need it. Were it lost, nothing that is stored would be: new artifacts would merely share no chunk with the
earlier ones.
"""

from __future__ import annotations

import secrets
from typing import Final

from pydantic import ValidationError

from acgs.errors import IntegrityError
from acgs.registry.artifacts.blobs import BlobStore, PointerChangedError
from acgs.registry.artifacts.keys import KEY_BYTES, KeyProvider
from acgs.registry.artifacts.manifest import WrappedKey

POINTER: Final = "keys/registry-secret"


def registry_secret(blobs: BlobStore, keys: KeyProvider) -> bytes:
    """The secret; writers that start together agree on one.

    Raises:
        IntegrityError: what is stored is not what was wrapped.
        UnavailableError: store or provider do not answer, or the provider has no longer the key.
    """
    found = blobs.read(POINTER)
    if found is None:
        secret = secrets.token_bytes(KEY_BYTES)
        try:
            with keys.kept():
                blobs.swap(POINTER, None, keys.wrap(secret).model_dump_json().encode())
        except PointerChangedError:
            return registry_secret(blobs, keys)
        return secret
    return keys.unwrap(_parse(found.data))


def secret_key_id(blobs: BlobStore) -> str | None:
    """The key under which the secret is; None if there is no secret yet.

    Raises:
        IntegrityError: what is stored is not what was wrapped.
        UnavailableError: the store does not answer.
    """
    found = blobs.read(POINTER)
    return None if found is None else _parse(found.data).key_id


def rewrap_secret(blobs: BlobStore, keys: KeyProvider) -> bool:
    """Wrap the secret with the provider's present key; False if it is already, or there is none yet.

    Raises:
        PointerChangedError: another process does the same now.
        IntegrityError, UnavailableError: see `registry_secret`.
    """
    found = blobs.read(POINTER)
    if found is None:
        return False
    wrapped = _parse(found.data)
    if wrapped.key_id == keys.key_id:
        return False
    with keys.kept():
        renewed = keys.wrap(keys.unwrap(wrapped))
        blobs.swap(POINTER, found.etag, renewed.model_dump_json().encode())
    return True


def _parse(data: bytes) -> WrappedKey:
    try:
        return WrappedKey.model_validate_json(data)
    except ValidationError:
        raise IntegrityError(f"{POINTER} was changed; restore it from a copy of the store", field="key") from None
