"""Puts files into the store: read once, checked, cut, sealed and sent, several chunks at a time."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from acgs.errors import IntegrityError, UnavailableError
from acgs.registry.artifacts.blobs import CHUNKS, BlobMissingError, BlobStore
from acgs.registry.artifacts.chunking import chunk_sizes
from acgs.registry.artifacts.formats import check_file
from acgs.registry.artifacts.keys import KEY_BYTES, KeyProvider
from acgs.registry.artifacts.manifest import Chunk, FileEntry, Manifest
from acgs.registry.artifacts.refusal import ChangedFileError
from acgs.registry.artifacts.sealing import OVERHEAD, SealedChunk, Sealer, open_chunk, wrap_chunk_key
from acgs.registry.artifacts.source import SourceFile, opened
from acgs.registry.artifacts.transfer import Meter, TransferPool


@dataclass(frozen=True, slots=True)
class _Begun:
    file: SourceFile
    sha256: str
    chunks: list[Future[Chunk]]


class Put:
    """One artifact on its way into the store."""

    def __init__(self, blobs: BlobStore, keys: KeyProvider, sealer: Sealer, meter: Meter) -> None:
        self._blobs = blobs
        self._keys = keys
        self._sealer = sealer
        self._meter = meter
        self._artifact_key = secrets.token_bytes(KEY_BYTES)
        self._shared: set[str] = set()

    def run(self, files: Sequence[SourceFile], workers: int) -> Manifest:
        """Put the files; chunks that are there already are not sent.

        Raises:
            RefusedFileError, ChangedFileError: a file is of no allowed format, or changed meanwhile.
            UnavailableError: the store or the key provider do not answer, refuse, or are full.
            IntegrityError: a chunk that was there already is damaged.
        """
        # Wrapped first: where there is no key, no chunk is sent.
        key = self._keys.wrap(self._artifact_key)
        with TransferPool(workers) as pool:
            begun = [self._begin(file, pool) for file in files]
        entries = tuple(
            FileEntry(
                path=one.file.path,
                size=one.file.size,
                sha256=one.sha256,
                chunks=tuple(chunk.result() for chunk in one.chunks),
            )
            for one in begun
        )
        self._confirm_shared()
        return Manifest(files=entries, key=key)

    def _begin(self, file: SourceFile, pool: TransferPool) -> _Begun:
        digest, chunks = hashlib.sha256(), []
        with opened(file) as handle:
            check_file(file.path, handle)
            sizes = list(chunk_sizes(file.path, handle))
            handle.seek(0)
            for size in sizes:
                plain = handle.read(size)
                if len(plain) != size:
                    raise ChangedFileError(file.path)
                digest.update(plain)
                chunks.append(pool.submit(self._store, plain))
        return _Begun(file, digest.hexdigest(), chunks)

    def _store(self, plain: bytes) -> Chunk:
        digest = hashlib.sha256(plain)
        sealed = self._sealer.seal(plain, digest.digest())
        stored = self._send(sealed, len(plain))
        return Chunk(
            name=sealed.name,
            size=len(plain),
            sha256=digest.hexdigest(),
            stored_size=len(stored),
            stored_sha256=hashlib.sha256(stored).hexdigest(),
            key=wrap_chunk_key(self._artifact_key, sealed.key).hex(),
        )

    def _send(self, sealed: SealedChunk, size: int) -> bytes:
        """Have the chunk in the store; the bytes that are there in the end."""
        name = CHUNKS + sealed.name
        present = self._blobs.touch(name)
        if not present and self._blobs.put_if_absent(name, sealed.stored):
            self._meter.add(size, moved=True)
            return sealed.stored
        self._meter.add(size, moved=False)
        self._shared.add(name)
        found = self._blobs.stat(name)
        if found is not None and found.sha256 == hashlib.sha256(sealed.stored).hexdigest():
            return sealed.stored
        return self._checked(sealed, size)

    def _checked(self, sealed: SealedChunk, size: int) -> bytes:
        """A chunk that another compressor made, or that is damaged: only opening it tells."""
        name = CHUNKS + sealed.name
        stored = self._blobs.get(name, limit=size + OVERHEAD)
        try:
            open_chunk(sealed.name, sealed.key, stored, size)
        except IntegrityError as error:
            raise IntegrityError(
                f"{name} in {self._blobs.place} is damaged; verify the versions that use it and restore or remove it",
                field="chunk",
            ) from error
        return stored

    def _confirm_shared(self) -> None:
        """A clean-up may have taken a chunk between the look at it and its being counted as ours."""
        for name in sorted(self._shared):
            if not self._blobs.touch(name):
                raise UnavailableError(
                    f"{name} was removed by a clean-up while the artifact was put; put it again", field="chunk"
                ) from BlobMissingError(name)
