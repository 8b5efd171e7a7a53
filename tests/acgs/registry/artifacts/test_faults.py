"""What happens when the disk, the store or the bytes fail: a clear reason, and nothing half-written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import AcgsError, IntegrityError, UnavailableError
from acgs.registry.artifacts.blobs import CHUNKS, DRAFTS, BlobMissingError, BlobStore, BlobStoreError
from acgs.registry.artifacts.keys import KeyFile, KeyProvider
from acgs.registry.artifacts.local_blobs import LocalBlobs
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.secret import POINTER
from acgs.registry.artifacts.store import ArtifactStore
from acgs.registry.artifacts.verifying import Fault

WEIGHTS = "weights/adapter_model.safetensors"


@pytest.fixture
def manifest(local_store: ArtifactStore, adapter: Path) -> Manifest:
    return local_store.put(adapter)


def stored_file(root: Path, name: str) -> Path:
    (found,) = (root / "blobs").rglob(name)
    return found


def chunks(manifest: Manifest) -> Iterator[tuple[str, int, str]]:
    for entry in manifest.files:
        for number, chunk in enumerate(entry.chunks):
            yield entry.path, number, chunk.name


def test_a_flipped_byte_in_any_stored_chunk_is_reported_and_nothing_is_returned(
    local_store: ArtifactStore, manifest: Manifest, tmp_path: Path
) -> None:
    for path, number, name in chunks(manifest):
        file = stored_file(tmp_path, name)
        sound = file.read_bytes()
        for place in (0, 1, 13, len(sound) // 2, len(sound) - 1):
            file.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
            for stored_only in (False, True):
                (finding,) = local_store.verify(manifest, stored_only=stored_only)
                assert (finding.fault, finding.path, finding.chunk, finding.name) == (Fault.CHANGED, path, number, name)
                assert path in str(finding)
        with pytest.raises(IntegrityError, match=name[:16]):
            local_store.fetch(manifest, tmp_path / "fetched")
        file.write_bytes(sound)
    assert sorted(entry.name for entry in tmp_path.iterdir() if "fetched" in entry.name) == []


def test_a_missing_chunk_is_named_by_file_and_number(
    local_store: ArtifactStore, manifest: Manifest, tmp_path: Path
) -> None:
    entry = next(entry for entry in manifest.files if entry.path == WEIGHTS)
    assert local_store.missing(manifest) == []
    stored_file(tmp_path, entry.chunks[4].name).unlink()
    assert local_store.missing(manifest) == [entry.chunks[4].name]
    (finding,) = local_store.verify(manifest)
    assert (finding.fault, finding.path, finding.chunk) == (Fault.MISSING, WEIGHTS, 4)
    with pytest.raises(BlobMissingError, match=entry.chunks[4].name):
        local_store.fetch(manifest, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_chunk_that_was_cut_off_counts_as_missing_without_being_read(
    local_store: ArtifactStore, manifest: Manifest, tmp_path: Path
) -> None:
    name = min(manifest.chunk_names)
    stored_file(tmp_path, name).write_bytes(b"cut off")
    assert local_store.missing(manifest) == [name]


def test_two_chunks_that_changed_places_are_noticed(
    local_store: ArtifactStore, manifest: Manifest, tmp_path: Path
) -> None:
    entry = next(entry for entry in manifest.files if entry.path == WEIGHTS)
    first, second = (stored_file(tmp_path, chunk.name) for chunk in entry.chunks[1:3])
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    assert [finding.fault for finding in local_store.verify(manifest)] == [Fault.CHANGED, Fault.CHANGED]


def test_a_manifest_whose_chunks_changed_places_is_noticed(
    local_store: ArtifactStore, manifest: Manifest, tmp_path: Path
) -> None:
    index, entry = next((n, entry) for n, entry in enumerate(manifest.files) if entry.path == WEIGHTS)
    order = (*entry.chunks[:1], entry.chunks[2], entry.chunks[1], *entry.chunks[3:])
    files = (*manifest.files[:index], entry.model_copy(update={"chunks": order}), *manifest.files[index + 1 :])
    forged = Manifest(files=files, key=manifest.key)
    (finding,) = local_store.verify(forged)
    assert (finding.fault, finding.path, finding.chunk) == (Fault.CONTENT, WEIGHTS, None)
    with pytest.raises(IntegrityError):
        local_store.fetch(forged, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_wrong_key_is_told_from_damage(local_store: ArtifactStore, manifest: Manifest, adapter: Path) -> None:
    other = local_store.put(adapter)
    forged = Manifest(files=manifest.files, key=other.key)
    assert {finding.fault for finding in local_store.verify(forged)} == {Fault.WRONG_KEY}
    changed = manifest.key.model_copy(update={"data": "00" * 40})
    (finding,) = local_store.verify(Manifest(files=manifest.files, key=changed))
    assert (finding.fault, finding.path) == (Fault.WRONG_KEY, None)


def test_a_lost_key_file_stops_the_reading_and_says_which_key(
    local_blobs: BlobStore, manifest: Manifest, tmp_path: Path
) -> None:
    store = ArtifactStore(local_blobs, KeyFile.load_or_create(tmp_path / "new.key"))
    for use in (
        lambda: store.verify(manifest),
        lambda: store.fetch(manifest, tmp_path / "fetched"),
        lambda: store.put(tmp_path / "adapter"),
    ):
        with pytest.raises(UnavailableError, match=manifest.key.key_id):
            use()
    assert not (tmp_path / "fetched").exists()


def test_a_damaged_chunk_is_not_shared_with_a_new_version(
    local_store: ArtifactStore, manifest: Manifest, adapter: Path, tmp_path: Path
) -> None:
    name = next(iter(sorted(manifest.chunk_names)))
    file = stored_file(tmp_path, name)
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(IntegrityError, match=f"{name}.*damaged"):
        local_store.put(adapter)


def test_a_chunk_of_another_compressor_is_shared_after_it_was_opened(
    local_blobs: BlobStore, file_keys: KeyProvider, adapter: Path, tmp_path: Path
) -> None:
    (adapter / "log.txt").write_text("".join(f"step {n} loss {n % 97}\n" for n in range(20_000)))
    first = ArtifactStore(local_blobs, file_keys, level=1).put(adapter)
    store = ArtifactStore(local_blobs, file_keys, level=12)
    second = store.put(adapter)
    assert first.chunk_names == second.chunk_names
    assert store.verify(second) == ()


def test_a_clean_up_in_the_middle_of_a_put_is_noticed(
    local_store: ArtifactStore, local_blobs: BlobStore, manifest: Manifest, adapter: Path
) -> None:
    name = CHUNKS + min(manifest.chunk_names)

    def clean_up(progress: Any) -> None:
        if progress.done == progress.total:
            local_blobs.delete(name)

    with pytest.raises(UnavailableError, match="put it again"):
        local_store.put(adapter, progress=clean_up)
    assert local_store.verify(local_store.put(adapter)) == ()


@pytest.mark.parametrize("calls_before", [0, 1, 5, 12])
def test_a_full_disk_stops_a_put_with_whole_chunks_only(
    tmp_path: Path, file_keys: KeyProvider, adapter: Path, monkeypatch: pytest.MonkeyPatch, calls_before: int
) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    store = ArtifactStore(blobs, file_keys)
    store.put(adapter / "README.md")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC, calls_before))
        with pytest.raises(BlobStoreError, match=r"disk of .* is full"):
            store.put(adapter)
    assert not list(blobs.list(DRAFTS))
    assert store.verify(store.put(adapter)) == ()


def test_a_full_disk_stops_a_fetch_and_leaves_nothing(
    local_store: ArtifactStore, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, calls in (("pwrite", 4), ("fsync", 2), ("ftruncate", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing(errno.ENOSPC, calls, getattr(os, name)))
            with pytest.raises(UnavailableError, match="disk is full"):
                local_store.fetch(manifest, tmp_path / "fetched")
        assert sorted(entry.name for entry in tmp_path.iterdir() if "fetched" in entry.name) == []
    assert local_store.fetch(manifest, tmp_path / "fetched").is_dir()


def test_a_changed_registry_secret_is_told(local_blobs: BlobStore, file_keys: KeyProvider, adapter: Path) -> None:
    ArtifactStore(local_blobs, file_keys).put(adapter)
    found = local_blobs.read(POINTER)
    assert found is not None
    for data in (b"{}", found.data.replace(b'"data":"', b'"data":"00')):
        tag = local_blobs.read(POINTER)
        assert tag is not None
        local_blobs.swap(POINTER, tag.etag, data)
        with pytest.raises(IntegrityError):
            ArtifactStore(local_blobs, file_keys).put(adapter)


def test_no_error_and_no_stored_name_shows_a_key(
    local_store: ArtifactStore, manifest: Manifest, file_keys: KeyProvider, tmp_path: Path
) -> None:
    secret = file_keys.unwrap(manifest.key)
    stored_file(tmp_path, min(manifest.chunk_names)).write_bytes(b"x")
    with pytest.raises(AcgsError) as raised:
        local_store.fetch(manifest, tmp_path / "fetched")
    texts = [str(raised.value), repr(file_keys), repr(local_store), manifest.model_dump_json()]
    assert not any(form in text for text in texts for form in (secret.hex(), repr(secret)))


def test_old_leavings_of_interrupted_writes_are_cleaned_up(local_store: ArtifactStore, tmp_path: Path) -> None:
    left = tmp_path / "blobs" / DRAFTS / ("0" * 32)
    left.write_bytes(b"half a chunk")
    assert list(local_store.unreferenced([], older_than=timedelta(hours=1))) == []
    later = datetime.now(UTC) + timedelta(hours=2)
    assert local_store.remove(local_store.unreferenced([], older_than=timedelta(hours=1), now=later)) == 12
    assert not left.exists()


def failing(number: int, after: int, real: Callable[..., Any] = os.fsync) -> Callable[..., Any]:
    """A system call that works `after` times and then fails."""
    calls = iter(range(after))

    def call(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    return call
