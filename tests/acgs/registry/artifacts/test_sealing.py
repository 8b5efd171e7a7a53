from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.errors import IntegrityError
from acgs.registry.artifacts.sealing import OVERHEAD, SealedChunk, Sealer, open_chunk, unwrap_chunk_key, wrap_chunk_key

SEALER = Sealer(bytes(32))


def seal(plain: bytes, sealer: Sealer = SEALER) -> SealedChunk:
    return sealer.seal(plain, hashlib.sha256(plain).digest())


@given(st.binary(min_size=1, max_size=4096) | st.integers(1, 9999).map(lambda n: b"ab" * n))
def test_what_was_sealed_opens_to_the_same_bytes(plain: bytes) -> None:
    sealed = seal(plain)
    assert open_chunk(sealed.name, sealed.key, sealed.stored, len(plain)) == plain


def test_bytes_that_compress_are_stored_smaller_and_others_hardly_larger() -> None:
    assert len(seal(b"ab" * 50_000).stored) < 1000
    assert len(seal(os.urandom(100_000)).stored) == 100_000 + OVERHEAD


def test_equal_chunks_have_one_form_and_another_registry_another() -> None:
    assert seal(b"content") == seal(b"content")
    other = seal(b"content", Sealer(b"\x01" * 32))
    assert {other.name, other.key} & {seal(b"content").name, seal(b"content").key} == set()
    assert hashlib.sha256(b"content").hexdigest() not in (other.name, seal(b"content").name)


def test_another_compression_takes_another_nonce_under_the_same_key() -> None:
    plain = bytes(range(256)) * 99 + os.urandom(50_000) + b"abc" * 9999
    one, other = seal(plain), seal(plain, Sealer(bytes(32), level=19))
    assert (one.name, one.key) == (other.name, other.key)
    assert one.stored[1:13] != other.stored[1:13]
    assert open_chunk(other.name, other.key, other.stored, len(plain)) == plain


@settings(max_examples=60)
@given(st.data())
def test_no_changed_cut_or_longer_form_opens(data: st.DataObject) -> None:
    plain = b"some plain bytes " * 20
    sealed = seal(plain)
    place = data.draw(st.integers(0, len(sealed.stored) - 1))
    changed = bytearray(sealed.stored)
    changed[place] ^= data.draw(st.integers(1, 255))
    for stored in (bytes(changed), sealed.stored[:place], sealed.stored + b"\x00"):
        with pytest.raises(IntegrityError):
            open_chunk(sealed.name, sealed.key, stored, len(plain))


def test_a_chunk_opens_only_under_its_own_name_key_and_size() -> None:
    one, other = seal(b"one chunk"), seal(b"a second!")
    for name, key, size in ((other.name, one.key, 9), (one.name, other.key, 9), (one.name, one.key, 8)):
        with pytest.raises(IntegrityError):
            open_chunk(name, key, one.stored, size)


def test_a_chunk_key_opens_with_its_artifacts_key_only() -> None:
    first, second, key = os.urandom(32), os.urandom(32), os.urandom(32)
    wrapped = wrap_chunk_key(first, key)
    assert unwrap_chunk_key(first, wrapped) == key
    with pytest.raises(IntegrityError):
        unwrap_chunk_key(second, wrapped)
