"""Verifies a stored artifact and says of each fault where it is."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum

from acgs.errors import IntegrityError
from acgs.registry.artifacts.blobs import BlobMissingError, BlobStore
from acgs.registry.artifacts.manifest import Chunk, FileEntry, Manifest
from acgs.registry.artifacts.opening_chunks import plain_bytes, stored_bytes
from acgs.registry.artifacts.transfer import Meter, TransferPool


class Fault(StrEnum):
    """What may be wrong."""

    MISSING = "missing"
    CHANGED = "stored bytes changed"
    WRONG_KEY = "wrong key"
    CONTENT = "content is not what the manifest says"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: in which file and chunk (None: in all of the artifact, or of the file), and what it is."""

    fault: Fault
    path: str | None = None
    chunk: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        where = "artifact" if self.path is None else self.path
        number = "" if self.chunk is None else f", chunk {self.chunk}"
        name = "" if self.name is None else f" ({self.name[:16]})"
        return f"{where}{number}{name}: {self.fault.value}"


_Checked = tuple[Fault | None, bytes]


class Verification:
    """One artifact being read through. Without a key only stored bytes are compared, at the speed of the disk."""

    def __init__(self, blobs: BlobStore, artifact_key: bytes | None, meter: Meter) -> None:
        self._blobs = blobs
        self._key = artifact_key
        self._meter = meter

    def run(self, manifest: Manifest, workers: int) -> list[Finding]:
        """Every fault in what is stored. Raises `UnavailableError` if the store does not answer."""
        findings = []
        with TransferPool(workers) as pool:
            for entry in manifest.files:
                findings += self._file(entry, pool, workers)
        return findings

    def _file(self, entry: FileEntry, pool: TransferPool, workers: int) -> list[Finding]:
        digest, findings = hashlib.sha256(), []
        ahead: deque[Future[_Checked]] = deque()
        waiting = iter(entry.chunks)
        for number, chunk in enumerate(entry.chunks):
            while len(ahead) < workers and (following := next(waiting, None)) is not None:
                ahead.append(pool.submit(self._chunk, following))
            fault, plain = ahead.popleft().result()
            digest.update(plain)
            self._meter.add(chunk.size, moved=True)
            if fault is not None:
                findings.append(Finding(fault, entry.path, number, chunk.name))
        if self._key is not None and not findings and digest.hexdigest() != entry.sha256:
            findings.append(Finding(Fault.CONTENT, entry.path))
        return findings

    def _chunk(self, chunk: Chunk) -> _Checked:
        try:
            stored = stored_bytes(self._blobs, chunk)
        except BlobMissingError:
            return Fault.MISSING, b""
        except IntegrityError:
            return Fault.CHANGED, b""
        if self._key is None:
            return None, b""
        try:
            return None, plain_bytes(self._key, chunk, stored)
        except IntegrityError as error:
            return (Fault.WRONG_KEY if error.field == "key" else Fault.CONTENT), b""
