"""Reads a chunk back: nothing is returned whose stored bytes, key and plain bytes are not what the manifest says."""

from __future__ import annotations

import hashlib

from acgs.errors import IntegrityError
from acgs.registry.artifacts.blobs import CHUNKS, BlobStore
from acgs.registry.artifacts.manifest import Chunk
from acgs.registry.artifacts.sealing import open_chunk, unwrap_chunk_key


def stored_bytes(blobs: BlobStore, chunk: Chunk) -> bytes:
    """The chunk as it is stored.

    Raises:
        BlobMissingError: it is not there.
        IntegrityError: its bytes are not those that were stored.
    """
    stored = blobs.get(CHUNKS + chunk.name, limit=chunk.stored_size)
    if len(stored) != chunk.stored_size or hashlib.sha256(stored).hexdigest() != chunk.stored_sha256:
        raise IntegrityError(
            f"chunk {chunk.name[:16]} in {blobs.place} was changed; restore it from a copy of the store", field="chunk"
        )
    return stored


def plain_bytes(artifact_key: bytes, chunk: Chunk, stored: bytes) -> bytes:
    """The chunk's plain bytes.

    Raises:
        IntegrityError: they do not open, or are others than the manifest says.
    """
    plain = open_chunk(chunk.name, unwrap_chunk_key(artifact_key, bytes.fromhex(chunk.key)), stored, chunk.size)
    if hashlib.sha256(plain).hexdigest() != chunk.sha256:
        raise IntegrityError(f"chunk {chunk.name[:16]} holds other bytes than the manifest says", field="chunk")
    return plain
