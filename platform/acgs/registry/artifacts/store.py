"""The artifact store: what is put into it comes back verified, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from acgs.errors import IntegrityError
from acgs.registry.artifacts.blobs import CHUNKS, DRAFTS, BlobStore, Listed
from acgs.registry.artifacts.fetching import Fetch
from acgs.registry.artifacts.keys import KeyProvider
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.putting import Put
from acgs.registry.artifacts.sealing import LEVEL, Sealer
from acgs.registry.artifacts.secret import registry_secret, rewrap_secret, secret_key_id
from acgs.registry.artifacts.source import source_files
from acgs.registry.artifacts.transfer import WORKERS, Meter, ProgressCallback
from acgs.registry.artifacts.verifying import Fault, Finding, Verification


class ArtifactStore:
    """Artifacts in a blob store, sealed with keys of a provider. Threads and processes may share the blobs.

    A manifest is all that is needed, beside the provider, to read an artifact; whoever calls keeps it.
    """

    def __init__(self, blobs: BlobStore, keys: KeyProvider, *, workers: int = WORKERS, level: int = LEVEL) -> None:
        self._blobs = blobs
        self._keys = keys
        self._workers = workers
        self._level = level
        self._lock = threading.Lock()
        self._made: Sealer | None = None

    @property
    def place(self) -> str:
        """Where the bytes are, for people."""
        return self._blobs.place

    def put(self, source: Path, *, progress: ProgressCallback | None = None) -> Manifest:
        """Store a folder or a file. Interrupted, it leaves chunks that nothing refers to; put again, it goes on there.

        Raises:
            RefusedFileError: a file is a link, has a bad name, or is of no allowed format; the reason names it.
            ChangedFileError: a file was written to meanwhile.
            InvalidInputError: there is nothing to put, or too much.
            UnavailableError: the store or the key provider do not answer, refuse, or are full.
            IntegrityError: a chunk that another version stored is damaged.
        """
        files = source_files(source)
        meter = Meter(sum(file.size for file in files), progress)
        return Put(self._blobs, self._keys, self._sealer(), meter).run(files, self._workers)

    def fetch(self, manifest: Manifest, target: Path, *, progress: ProgressCallback | None = None) -> Path:
        """Have the artifact in the folder `target`, which appears only when all of it was verified; returns it.

        A folder that holds the artifact already is verified and left. Interrupted, it goes on the next time.

        Raises:
            IntegrityError: a chunk is missing, changed or of another key.
            UnavailableError: the store or the key provider do not answer, or the disk is full.
            InvalidInputError: `target` holds something else.
        """
        key = self._keys.unwrap(manifest.key)
        Fetch(self._blobs, key, manifest, Meter(manifest.size, progress)).run(target, self._workers)
        return target

    def verify(
        self, manifest: Manifest, *, stored_only: bool = False, progress: ProgressCallback | None = None
    ) -> tuple[Finding, ...]:
        """Every fault of a stored artifact, none if it is sound. All bytes are read.

        Args:
            stored_only: compare the stored bytes alone, without keys, at the speed of the disk.

        Raises:
            UnavailableError: the store or the key provider do not answer.
        """
        key = None
        if not stored_only:
            try:
                key = self._keys.unwrap(manifest.key)
            except IntegrityError:
                return (Finding(Fault.WRONG_KEY),)
        verification = Verification(self._blobs, key, Meter(manifest.size, progress))
        return tuple(verification.run(manifest, self._workers))

    def missing(self, manifest: Manifest) -> list[str]:
        """Names of the chunks that are not there, or have another size. No byte is read."""
        sizes = {chunk.name: chunk.stored_size for entry in manifest.files for chunk in entry.chunks}
        return [name for name, size in sizes.items() if self._blobs.size(CHUNKS + name) != size]

    def require_key(self, manifest: Manifest) -> None:
        """Look whether the artifact's key can be had.

        Raises:
            UnavailableError: the provider does not answer, or has no longer the key under which it is.
            IntegrityError: it was changed.
        """
        self._keys.unwrap(manifest.key)

    def require_secret(self) -> None:
        """Look whether the registry's own secret can be had, if there is one yet; only writers need it.

        Raises:
            UnavailableError, IntegrityError: as `require_key`.
        """
        if self.secret_key_id() is not None:
            registry_secret(self._blobs, self._keys)

    def rewrap(self, manifest: Manifest) -> Manifest:
        """The manifest under the provider's present key, the same one if it is already. No chunk is touched.

        Raises:
            IntegrityError, UnavailableError: the provider cannot unwrap the artifact's key.
        """
        key = self._keys.unwrap(manifest.key)
        if manifest.key.key_id == self._keys.key_id:
            return manifest
        renewed = self._keys.wrap(key)
        return Manifest(files=manifest.files, key=renewed)

    def keys_kept(self) -> AbstractContextManager[None]:
        """Meanwhile no wrapping key is given up: `rewrap` and record the manifest inside it."""
        return self._keys.kept()

    @property
    def key_id(self) -> str:
        """The provider's key that wraps now."""
        return self._keys.key_id

    def secret_key_id(self) -> str | None:
        """The provider's key that wraps the registry's own secret; None before the first put."""
        return secret_key_id(self._blobs)

    def rewrap_secret(self) -> bool:
        """Wrap the registry's own secret with the provider's present key; whether there was a need."""
        return rewrap_secret(self._blobs, self._keys)

    def unreferenced(
        self, keep: Iterable[Manifest], *, older_than: timedelta, now: datetime | None = None
    ) -> Iterator[Listed]:
        """Chunks that none of `keep` has, and leavings of interrupted writes.

        Args:
            older_than: what was written or used again more recently is spared: it may belong to a put in progress.
                Choose more than the longest put lasts, and than the ten minutes within which a bucket's blobs are
                not made young again.
        """
        used = {CHUNKS + name for manifest in keep for name in manifest.chunk_names}
        limit = (now or datetime.now(UTC)) - older_than
        for prefix in (CHUNKS, DRAFTS):
            for blob in self._blobs.list(prefix):
                if blob.name not in used and blob.modified <= limit:
                    yield blob

    def remove(self, blobs: Iterable[Listed]) -> int:
        """Remove what `unreferenced` listed; returns how many bytes. What was used since it was listed is spared."""
        return sum(blob.size for blob in blobs if self._blobs.delete(blob.name, not_since=blob.modified))

    def _sealer(self) -> Sealer:
        with self._lock:
            if self._made is None:
                self._made = Sealer(registry_secret(self._blobs, self._keys), level=self._level)
            return self._made
