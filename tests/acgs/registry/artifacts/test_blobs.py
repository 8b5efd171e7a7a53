"""The contract of every blob store."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acgs.errors import IntegrityError, InvalidInputError
from acgs.registry.artifacts.blobs import (
    DRAFTS,
    BlobMissingError,
    BlobStore,
    PointerChangedError,
    Stored,
)
from acgs.registry.artifacts.local_blobs import LocalBlobs

A_DAY = timedelta(days=1)


def test_what_was_put_is_got_and_described(blobs: BlobStore) -> None:
    assert blobs.put_if_absent("chunks/abcd", b"data")
    assert blobs.get("chunks/abcd") == b"data"
    assert blobs.stat("chunks/abcd") == Stored(4, hashlib.sha256(b"data").hexdigest())
    assert blobs.size("chunks/abcd") == 4


def test_a_blob_is_never_replaced(blobs: BlobStore) -> None:
    blobs.put_if_absent("chunks/abcd", b"first")
    assert not blobs.put_if_absent("chunks/abcd", b"second")
    assert blobs.get("chunks/abcd") == b"first"


def test_of_writers_that_come_together_one_wins(local_blobs: BlobStore) -> None:
    with ThreadPoolExecutor(8) as writers:
        won = list(writers.map(lambda n: local_blobs.put_if_absent("chunks/abcd", bytes([n]) * 9999), range(8)))
    assert won.count(True) == 1
    assert local_blobs.get("chunks/abcd") == bytes([won.index(True)]) * 9999
    assert [blob.name for blob in local_blobs.list()] == ["chunks/abcd"]


def test_an_absent_blob_is_named(blobs: BlobStore) -> None:
    with pytest.raises(BlobMissingError, match="chunks/none"):
        blobs.get("chunks/none")
    assert blobs.stat("chunks/none") is None
    assert blobs.size("chunks/none") is None
    assert not blobs.touch("chunks/none")
    assert not blobs.delete("chunks/none")
    assert blobs.read("chunks/none") is None


def test_more_bytes_than_were_stored_are_not_read(blobs: BlobStore) -> None:
    blobs.put_if_absent("chunks/abcd", b"12345")
    assert blobs.get("chunks/abcd", limit=5) == b"12345"
    with pytest.raises(IntegrityError, match="more than 4 bytes"):
        blobs.get("chunks/abcd", limit=4)


def test_a_listing_has_every_name_under_a_prefix_with_its_age(blobs: BlobStore) -> None:
    for name in ("chunks/aa01", "chunks/aa02", "chunks/bb01", "keys/one"):
        blobs.put_if_absent(name, b"xy")
    found = list(blobs.list("chunks/"))
    assert sorted(blob.name for blob in found) == ["chunks/aa01", "chunks/aa02", "chunks/bb01"]
    assert {blob.size for blob in found} == {2}
    assert all(abs(datetime.now(UTC) - blob.modified) < A_DAY for blob in found)
    assert len(list(blobs.list())) == 4


def test_a_blob_used_since_is_spared(blobs: BlobStore) -> None:
    blobs.put_if_absent("chunks/abcd", b"xy")
    assert not blobs.delete("chunks/abcd", not_since=datetime.now(UTC) - A_DAY)
    assert blobs.touch("chunks/abcd")
    assert blobs.delete("chunks/abcd", not_since=datetime.now(UTC) + A_DAY)
    assert blobs.stat("chunks/abcd") is None


def test_a_pointer_changes_only_from_what_was_read(blobs: BlobStore) -> None:
    first = blobs.swap("alias/live", None, b"1")
    second = blobs.swap("alias/live", first, b"2")
    for stale in (None, first):
        with pytest.raises(PointerChangedError, match="alias/live"):
            blobs.swap("alias/live", stale, b"3")
    found = blobs.read("alias/live")
    assert found is not None
    assert (found.data, found.etag) == (b"2", second)


def test_a_pointer_that_is_gone_is_not_swapped(blobs: BlobStore) -> None:
    tag = blobs.swap("alias/live", None, b"1")
    blobs.delete("alias/live")
    with pytest.raises(PointerChangedError):
        blobs.swap("alias/live", tag, b"2")


def test_swappers_lose_no_step(local_blobs: BlobStore) -> None:
    local_blobs.swap("alias/count", None, b"0")

    def increment(_n: int) -> None:
        while True:
            found = local_blobs.read("alias/count")
            assert found is not None
            try:
                local_blobs.swap("alias/count", found.etag, str(int(found.data) + 1).encode())
            except PointerChangedError:
                continue
            return

    with ThreadPoolExecutor(4) as swappers:
        list(swappers.map(increment, range(20)))
    found = local_blobs.read("alias/count")
    assert found is not None
    assert found.data == b"20"


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a//b", "a/../b", "", "A", "a b", "a\x00b", ".hidden", "a/"])
def test_a_name_that_leads_elsewhere_is_refused(blobs: BlobStore, name: str) -> None:
    for use in (lambda: blobs.get(name), lambda: blobs.put_if_absent(name, b""), lambda: blobs.delete(name)):
        with pytest.raises(InvalidInputError):
            use()


def test_what_an_interrupted_write_leaves_is_listed_and_can_be_removed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    (tmp_path / DRAFTS / "0123456789abcdef").write_bytes(b"half")
    (left,) = blobs.list(DRAFTS)
    assert blobs.delete(left.name)
    assert not list(blobs.list())
