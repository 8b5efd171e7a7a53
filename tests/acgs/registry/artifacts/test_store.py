"""What the store promises, over every backend."""

from __future__ import annotations

import filecmp
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acgs.errors import IntegrityError, InvalidInputError
from acgs.registry.artifacts.blobs import CHUNKS, BlobStore
from acgs.registry.artifacts.folder import folder_differences
from acgs.registry.artifacts.keys import KeyFile, KeyProvider
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.refusal import ChangedFileError
from acgs.registry.artifacts.store import ArtifactStore
from acgs.registry.artifacts.transfer import Progress

NO_AGE = timedelta(0)
LATER = datetime.now(UTC) + timedelta(days=1)
WEIGHTS = "weights/adapter_model.safetensors"
WriteTensors = Callable[..., None]


class StoppedError(Exception):
    """A process that died here."""


def expected(manifest: Manifest) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in manifest.files}


def test_what_was_put_comes_back_byte_for_byte(store: ArtifactStore, adapter: Path, tmp_path: Path) -> None:
    manifest = store.put(adapter)
    fetched = store.fetch(manifest, tmp_path / "fetched")
    assert folder_differences(fetched, expected(manifest)) == []
    for entry in manifest.files:
        assert filecmp.cmp(adapter / entry.path, fetched / entry.path, shallow=False)
    assert [entry.path for entry in manifest.files] == ["README.md", "adapter_config.json", "empty.txt", WEIGHTS]
    assert store.verify(manifest) == ()
    assert store.verify(manifest, stored_only=True) == ()


def test_a_single_file_is_an_artifact(store: ArtifactStore, adapter: Path, tmp_path: Path) -> None:
    manifest = store.put(adapter / "adapter_config.json")
    assert (store.fetch(manifest, tmp_path / "one") / "adapter_config.json").read_text().startswith("{")


def test_the_same_files_have_one_digest_and_one_copy_under_two_keys(store: ArtifactStore, adapter: Path) -> None:
    first, second = store.put(adapter), store.put(adapter)
    assert first.digest == second.digest
    assert first.chunk_names == second.chunk_names
    assert first.key != second.key
    assert {chunk.key for entry in first.files for chunk in entry.chunks}.isdisjoint(
        chunk.key for entry in second.files for chunk in entry.chunks
    )


def test_a_new_version_of_an_adapter_sends_only_what_changed(
    store: ArtifactStore, adapter: Path, write_tensors: WriteTensors
) -> None:
    seen: list[Progress] = []
    first = store.put(adapter, progress=seen.append)
    assert seen[-1] == Progress(first.size, first.size, first.size)
    write_tensors(adapter / WEIGHTS, seed=1, changed=frozenset({3}))
    second = store.put(adapter, progress=seen.append)
    assert seen[-1].done == seen[-1].total == second.size
    # One tensor of 300 kB, and the header.
    assert 300_000 <= seen[-1].moved < 303_000
    assert len(second.chunk_names - first.chunk_names) == 2


def test_an_interrupted_put_leaves_only_what_the_next_one_uses(
    blobs: BlobStore, file_keys: KeyProvider, adapter: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.moved > 1_500_000:
            raise StoppedError

    store = ArtifactStore(blobs, file_keys)
    with pytest.raises(StoppedError):
        store.put(adapter, progress=stop)
    left = {blob.name for blob in store.unreferenced([], older_than=NO_AGE, now=LATER)}
    seen: list[Progress] = []
    manifest = store.put(adapter, progress=seen.append)
    assert left <= {CHUNKS + name for name in manifest.chunk_names}
    assert seen[-1].moved <= seen[-1].total - 1_200_000


def test_an_interrupted_fetch_shows_nothing_and_goes_on(store: ArtifactStore, adapter: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.moved > 1_500_000:
            raise StoppedError

    manifest, target = store.put(adapter), tmp_path / "fetched"
    with pytest.raises(StoppedError):
        store.fetch(manifest, target, progress=stop)
    assert not target.exists()
    seen: list[Progress] = []
    store.fetch(manifest, target, progress=seen.append)
    assert seen[-1].done == manifest.size
    assert seen[-1].moved <= manifest.size - 1_200_000
    assert folder_differences(target, expected(manifest)) == []
    assert [entry.name for entry in tmp_path.glob(".*.part")] == []


def test_a_folder_that_holds_the_artifact_is_verified_and_left(
    local_store: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    manifest, target = local_store.put(adapter), tmp_path / "fetched"
    local_store.fetch(manifest, target)
    seen: list[Progress] = []
    assert local_store.fetch(manifest, target, progress=seen.append) == target
    assert seen[-1].moved == 0
    (target / "README.md").write_text("other")
    with pytest.raises(InvalidInputError, match="not this artifact"):
        local_store.fetch(manifest, target)
    assert (target / "README.md").read_text() == "other"


def test_fetches_to_one_folder_at_once_agree(local_store: ArtifactStore, adapter: Path, tmp_path: Path) -> None:
    manifest, failures = local_store.put(adapter), []

    def fetch() -> None:
        try:
            local_store.fetch(manifest, tmp_path / "fetched")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert folder_differences(tmp_path / "fetched", expected(manifest)) == []
    assert not list(tmp_path.glob(".*"))


def test_a_rotated_key_rewraps_without_touching_a_chunk(blobs: BlobStore, adapter: Path, tmp_path: Path) -> None:
    keys = KeyFile.load_or_create(tmp_path / "artifacts.key")
    store = ArtifactStore(blobs, keys)
    manifest = store.put(adapter)
    before = {(blob.name, blob.size, blob.modified) for blob in blobs.list(CHUNKS)}
    keys.rotate()
    rewrapped = store.rewrap(manifest)
    assert store.rewrap_secret()
    assert not store.rewrap_secret()
    assert rewrapped.key.key_id == keys.key_id != manifest.key.key_id
    assert (rewrapped.digest, rewrapped.files) == (manifest.digest, manifest.files)
    assert {(blob.name, blob.size, blob.modified) for blob in blobs.list(CHUNKS)} == before
    # With the earlier key thrown away, the rewrapped manifest still opens, and chunks are still shared.
    path = tmp_path / "artifacts.key"
    path.write_text(path.read_text().splitlines()[-1] + "\n")
    later = ArtifactStore(blobs, KeyFile(path))
    assert later.verify(rewrapped) == ()
    assert later.put(adapter).chunk_names == manifest.chunk_names


def test_artifacts_can_be_kept_under_a_key_service(
    local_blobs: BlobStore, kms_keys: KeyProvider, adapter: Path, tmp_path: Path
) -> None:
    store = ArtifactStore(local_blobs, kms_keys)
    manifest = store.put(adapter)
    assert store.fetch(manifest, tmp_path / "fetched").is_dir()


def test_a_clean_up_takes_what_nothing_refers_to_and_no_more(
    store: ArtifactStore, adapter: Path, write_tensors: WriteTensors
) -> None:
    first = store.put(adapter)
    write_tensors(adapter / WEIGHTS, seed=1, changed=frozenset({3}))
    second = store.put(adapter)
    assert list(store.unreferenced([second], older_than=timedelta(hours=1))) == []
    listed = list(store.unreferenced([second], older_than=NO_AGE, now=LATER))
    assert {blob.name for blob in listed} == {CHUNKS + name for name in first.chunk_names - second.chunk_names}
    assert store.verify(first) == ()
    assert store.remove(listed) == sum(blob.size for blob in listed) > 200_000
    assert store.verify(second) == ()
    assert len(store.verify(first)) == 2


def test_a_chunk_that_a_put_used_since_it_was_listed_is_spared(
    local_store: ArtifactStore, local_blobs: BlobStore, adapter: Path
) -> None:
    local_store.put(adapter)
    listed = list(local_store.unreferenced([], older_than=NO_AGE, now=LATER))
    manifest = local_store.put(adapter)
    assert local_store.remove(listed) == 0
    assert local_store.verify(manifest) == ()


def test_names_in_the_store_do_not_tell_the_content(
    local_store: ArtifactStore, local_blobs: BlobStore, adapter: Path
) -> None:
    manifest = local_store.put(adapter)
    names = " ".join(blob.name for blob in local_blobs.list())
    assert not any(chunk.sha256 in names for entry in manifest.files for chunk in entry.chunks)
    stored = b"".join(local_blobs.get(blob.name) for blob in local_blobs.list())
    assert b"peft_type" not in stored


def test_a_file_that_changes_while_it_is_put_is_noticed(local_store: ArtifactStore, adapter: Path) -> None:
    weights = adapter / WEIGHTS

    def disturb(_progress: Progress) -> None:
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)

    with pytest.raises(ChangedFileError, match="changed while it was read"):
        local_store.put(adapter, progress=disturb)


def test_an_artifact_of_another_key_file_does_not_open(
    local_blobs: BlobStore, local_store: ArtifactStore, adapter: Path, tmp_path: Path
) -> None:
    manifest = local_store.put(adapter)
    other = KeyFile.load_or_create(tmp_path / "other.key")
    stranger = ArtifactStore(local_blobs, other)
    forged = Manifest(files=manifest.files, key=other.wrap(bytes(32)))
    with pytest.raises(IntegrityError):
        stranger.fetch(forged, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
