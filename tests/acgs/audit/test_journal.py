from __future__ import annotations

import asyncio
import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.audit import journal as journal_module
from acgs.audit.frames import FILE_MAGIC, FIRST_RECORD, HEADER_BYTES, frame, frame_all, scan
from acgs.audit.journal import Journal
from acgs.audit.journal_reader import read_batch, remove_merged
from acgs.errors import AuditWriteError, InvalidInputError

EVERYTHING = 1_000_000


def entries_in(directory: Path) -> list[bytes]:
    batch = read_batch(directory, {}, EVERYTHING)
    assert not batch.damaged
    return batch.entries


def only_file(directory: Path) -> Path:
    [path] = directory.glob("*.wal")
    return path


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let the kernel refuse to let any file grow beyond `size`, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
@settings(max_examples=200, deadline=None)
def test_a_file_cut_anywhere_yields_exactly_its_whole_records(payloads: list[bytes], data: st.DataObject) -> None:
    block, ends = frame_all(payloads)
    cut = data.draw(st.integers(0, len(block)))
    found = scan(block[:cut], limit=EVERYTHING)
    whole = [end for end in ends if end <= cut]
    assert [record.payload for record in found.records] == payloads[: len(whole)]
    assert (found.end, found.damaged_at) == (whole[-1] if whole else 0, None)


@given(st.lists(st.text(max_size=20).map(lambda text: text.encode() + b"}"), min_size=1, max_size=6), st.data())
@settings(max_examples=200, deadline=None)
def test_any_flipped_bit_is_reported_as_damage(payloads: list[bytes], data: st.DataObject) -> None:
    block, ends = frame_all(payloads)
    bit = data.draw(st.integers(0, len(block) * 8 - 1))
    changed = bytearray(block)
    changed[bit // 8] ^= 1 << (bit % 8)
    found = scan(bytes(changed), limit=EVERYTHING)
    before = sum(end <= bit // 8 for end in ends)
    assert len(found.records) == before
    assert found.damaged_at == ([0, *ends][before])


@given(st.integers(1, HEADER_BYTES + 20), st.integers(0, 5000))
@settings(deadline=None)
def test_pages_that_the_disk_lost_read_as_a_torn_tail(written: int, lost: int) -> None:
    first, last = frame(b'{"a":1}'), frame(b'{"' + b"b" * 40 + b'":2}')
    found = scan(first + last[:written] + bytes(len(last) - written + lost), limit=EVERYTHING)
    assert (len(found.records), found.end, found.damaged_at) == (1, len(first), None)


@pytest.mark.parametrize("durability", ["os", "fsync"])
def test_an_acknowledged_record_is_in_the_file_at_its_position(tmp_path: Path, durability: str) -> None:
    with Journal(tmp_path, "replica-1", durability=durability) as journal:
        first = journal.append(b'{"n":1}')
        second, third = journal.append_batch([b'{"n":2}', b'{"n":3}'])
        assert entries_in(tmp_path) == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
        assert read_batch(tmp_path, {first.journal: first.offset}, EVERYTHING).entries == [b'{"n":2}', b'{"n":3}']
        assert read_batch(tmp_path, {second.journal: second.offset}, EVERYTHING).entries == [b'{"n":3}']
        assert (tmp_path / third.journal).stat().st_size == third.offset


def test_two_journals_of_one_replica_never_share_a_file(tmp_path: Path) -> None:
    with Journal(tmp_path, "replica-1") as one, Journal(tmp_path, "replica-1") as two:
        assert one.append(b"1}").journal != two.append(b"2}").journal
        assert sorted(entries_in(tmp_path)) == [b"1}", b"2}"]


def test_a_full_file_is_left_for_a_new_one_and_nothing_is_lost(tmp_path: Path) -> None:
    entries = [b'{"n":%d}' % number for number in range(50)]
    with Journal(tmp_path, "replica-1", rotate_bytes=200) as journal:
        names = {journal.append(entry).journal for entry in entries}
        assert len(names) > 5
        assert all((tmp_path / name).stat().st_size <= 200 for name in names)
        assert entries_in(tmp_path) == entries


@pytest.mark.parametrize("entry", [b"", b"x" * 65_536])
def test_an_entry_that_the_log_cannot_hold_is_refused_before_it_is_written(tmp_path: Path, entry: bytes) -> None:
    with Journal(tmp_path, "replica-1") as journal, pytest.raises(InvalidInputError):
        journal.append_batch([b"fine}", entry])
    assert entries_in(tmp_path) == []


@pytest.mark.parametrize("replica", ["", "../escape", "a/b", ".hidden", "x" * 65])
def test_a_replica_id_that_is_no_file_name_is_refused(tmp_path: Path, replica: str) -> None:
    with pytest.raises(InvalidInputError):
        Journal(tmp_path, replica)


def test_a_half_written_record_is_taken_back_and_poisons_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path, "replica-1") as journal:
        before = journal.append(b"before}")
        # The kernel writes the first 30 bytes of the record and refuses the rest.
        with file_size_limit(before.offset + 30), pytest.raises(AuditWriteError):
            journal.append(b"x" * 100)
        assert (tmp_path / before.journal).stat().st_size == before.offset
        after = journal.append(b"after}")
        assert after.journal == before.journal
        assert entries_in(tmp_path) == [b"before}", b"after}"]


def test_a_half_written_record_that_cannot_be_taken_back_stays_behind_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _length: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    with Journal(tmp_path, "replica-1") as journal:
        before = journal.append(b"before}")
        with monkeypatch.context() as patch, file_size_limit(before.offset + 30):
            patch.setattr(journal_module.os, "ftruncate", refuse)
            with pytest.raises(AuditWriteError):
                journal.append(b"x" * 100)
        after = journal.append(b"after}")
        assert after.journal != before.journal
        assert (tmp_path / before.journal).stat().st_size == before.offset + 30
        assert entries_in(tmp_path) == [b"before}", b"after}"]
        # Its writer has left the file, so the torn tail was cut off in reading.
        assert (tmp_path / before.journal).stat().st_size == before.offset


def test_a_directory_that_cannot_be_written_is_reported_as_an_audit_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AuditWriteError):
        Journal(tmp_path / "file", "replica-1")


def test_a_closed_journal_refuses_records(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "replica-1")
    journal.close()
    journal.close()
    with pytest.raises(AuditWriteError):
        journal.append(b"late}")


def test_concurrent_appends_share_a_flush_that_begins_after_their_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed_sizes: list[int] = []
    gate = threading.Event()
    real = os.fdatasync

    def recorded(descriptor: int) -> None:
        flushed_sizes.append(os.fstat(descriptor).st_size)
        gate.wait(10)
        real(descriptor)

    async def scenario(journal: Journal) -> None:
        first = asyncio.create_task(journal.append_async(b"0}"))
        while not flushed_sizes:
            await asyncio.sleep(0)
        # The flush for the first record is held; these must wait for another one, together.
        rest = [asyncio.create_task(journal.append_async(b"%d}" % number)) for number in range(1, 40)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in [first, *rest])
        gate.set()
        positions = await asyncio.gather(first, *rest)
        assert len(flushed_sizes) == 2
        assert positions[0].offset <= flushed_sizes[0] < positions[1].offset
        assert max(position.offset for position in positions) <= flushed_sizes[1]

    monkeypatch.setattr(journal_module.os, "fdatasync", recorded)
    with Journal(tmp_path, "replica-1", durability="fsync") as journal:
        asyncio.run(scenario(journal))
        assert entries_in(tmp_path) == [b"%d}" % number for number in range(40)]


def test_a_cancelled_waiter_leaves_the_others_their_flush(tmp_path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        tasks = [asyncio.create_task(journal.append_async(b"%d}" % number)) for number in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert [type(outcome).__name__ for outcome in outcomes[1:]] == ["Position", "Position"]

    with Journal(tmp_path, "replica-1", durability="fsync") as journal:
        asyncio.run(scenario(journal))


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_failed_flush_fails_its_waiters_and_the_file_is_not_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    def append(journal: Journal, entry: bytes):
        return asyncio.run(journal.append_async(entry)) if asynchronous else journal.append(entry)

    with Journal(tmp_path, "replica-1", durability="fsync") as journal:
        before = append(journal, b"before}")
        with monkeypatch.context() as patch:
            patch.setattr(journal_module.os, "fdatasync", broken)
            with pytest.raises(AuditWriteError):
                append(journal, b"unconfirmed}")
        after = append(journal, b"after}")
        assert after.journal != before.journal


def test_rotation_under_concurrent_flushes_confirms_every_record(tmp_path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        await asyncio.gather(*(journal.append_async(b'{"n":%d}' % number) for number in range(200)))

    with Journal(tmp_path, "replica-1", durability="fsync", rotate_bytes=400) as journal:
        asyncio.run(scenario(journal))
    assert entries_in(tmp_path) == [b'{"n":%d}' % number for number in range(200)]
    # All files are released: a dead writer's merged files can go.
    merged = read_batch(tmp_path, {}, EVERYTHING).positions
    assert remove_merged(tmp_path, merged) == len(merged) > 5


def test_a_living_writers_file_is_neither_cut_nor_removed(tmp_path: Path) -> None:
    with Journal(tmp_path, "replica-1") as journal:
        position = journal.append(b"1}")
        path = only_file(tmp_path)
        with path.open("ab") as half_written:
            half_written.write(frame(b"2}")[:-1])
        size = path.stat().st_size
        assert entries_in(tmp_path) == [b"1}"]
        assert remove_merged(tmp_path, {position.journal: size}) == 0
        assert path.stat().st_size == size
    assert entries_in(tmp_path) == [b"1}"]
    assert path.stat().st_size == position.offset


def test_damage_in_the_middle_is_reported_and_what_precedes_it_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path, "replica-1") as journal:
        first, second = journal.append_batch([b"first}", b"second}"])
        journal.append(b"third}")
    path = tmp_path / first.journal
    data = bytearray(path.read_bytes())
    data[second.offset - 3] ^= 1
    path.write_bytes(data)
    batch = read_batch(tmp_path, {}, EVERYTHING)
    assert batch.entries == [b"first}"]
    assert batch.damaged == {first.journal: first.offset}
    assert path.read_bytes() == data
    assert remove_merged(tmp_path, batch.positions) == 0


def test_a_file_that_is_no_journal_is_reported(tmp_path: Path) -> None:
    (tmp_path / "stray.wal").write_bytes(b"something else entirely")
    assert read_batch(tmp_path, {}, EVERYTHING).damaged == {"stray.wal": FIRST_RECORD}
    (tmp_path / "stray.wal").write_bytes(FILE_MAGIC + b"not a record, but long enough")
    assert read_batch(tmp_path, {}, EVERYTHING).damaged == {"stray.wal": FIRST_RECORD}
