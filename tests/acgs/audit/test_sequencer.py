from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from acgs.audit.entry_index import INDEX_FILE, find_entry
from acgs.audit.journal import Journal
from acgs.audit.keys import SigningKey
from acgs.audit.layout import DEFAULT_ORIGIN, AuditDirectory
from acgs.audit.log import CHECKPOINT_FILE, AuditLog
from acgs.audit.log_writer import LogWriter
from acgs.audit.merkle import leaf_hash
from acgs.audit.notes import VerifierKey
from acgs.audit.sequencer import sequence
from acgs.audit.verification import verify_growth
from acgs.errors import IntegrityError, UnavailableError

KEY = SigningKey.generate()
VERIFIER = VerifierKey(DEFAULT_ORIGIN, KEY.public)


def numbered(start: int, end: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(start, end)]


def journalled(audit: AuditDirectory, replica: str, entries: list[bytes]) -> None:
    """Write entries as a replica that has ended since."""
    with Journal(audit.journals, replica) as journal:
        journal.append_batch(entries)


def logged(audit: AuditDirectory) -> list[bytes]:
    return list(AuditLog.open(audit.log).entries())


def test_all_replicas_are_merged_once_in_their_own_order(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    journalled(audit, "a", numbered(0, 10))
    with Journal(audit.journals, "b") as living:
        living.append_batch(numbered(10, 15))
        assert sequence(audit, KEY).added == 15
        living.append_batch(numbered(15, 20))
        journalled(audit, "c", numbered(20, 30))
        report = sequence(audit, KEY, batch_entries=3)
        assert (report.added, report.size, report.duplicates) == (15, 30, 0)
        assert sequence(audit, KEY).added == 0
    assert sorted(logged(audit)) == sorted(numbered(0, 30))
    assert logged(audit)[:15] == numbered(0, 15)


def test_dead_journals_go_and_living_ones_stay(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    journalled(audit, "dead", numbered(0, 3))
    with Journal(audit.journals, "living") as living:
        living.append(b"{}")
        assert sequence(audit, KEY).journals_removed == 1
        assert [path.name.startswith("living") for path in audit.journals.iterdir()] == [True]
    assert sequence(audit, KEY).journals_removed == 1
    assert logged(audit) == [*numbered(0, 3), b"{}"]


def test_a_record_written_twice_is_merged_once(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    journalled(audit, "a", [*numbered(0, 3), *numbered(1, 2)])
    assert sequence(audit, KEY).duplicates == 1
    journalled(audit, "b", numbered(2, 5))
    assert sequence(audit, KEY).duplicates == 1
    assert logged(audit) == numbered(0, 5)


def test_an_empty_log_gets_a_checkpoint_too(tmp_path: Path) -> None:
    report = sequence(AuditDirectory(tmp_path), KEY)
    assert (report.size, report.added) == (0, 0)
    assert report.checkpoint.startswith(f"{DEFAULT_ORIGIN}\n0\n")


def test_a_second_sequencer_is_refused(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    with LogWriter.open(audit.log, DEFAULT_ORIGIN), pytest.raises(UnavailableError):
        sequence(audit, KEY)


def test_damage_stops_nobody_else_and_is_reported(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    journalled(audit, "bad", numbered(0, 3))
    [bad] = audit.journals.iterdir()
    data = bytearray(bad.read_bytes())
    data[-2] ^= 1
    bad.write_bytes(data)
    journalled(audit, "good", numbered(10, 13))
    for _ in range(2):
        with pytest.raises(IntegrityError, match="bad-"):
            sequence(audit, KEY)
        assert logged(audit) == [*numbered(0, 2), *numbered(10, 13)]
        assert bad.read_bytes() == data
    assert (audit.log / CHECKPOINT_FILE).read_text().split("\n")[1] == "5"


def test_a_journal_that_a_lost_machine_shortened_after_merging_is_not_read_again(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    with Journal(audit.journals, "r") as journal:
        first = journal.append(b'{"n":0}')
        journal.append(b'{"n":1}')
        sequence(audit, KEY)
    os.truncate(audit.journals / first.journal, first.offset)
    assert sequence(audit, KEY).added == 0
    assert logged(audit) == numbered(0, 2)


def test_a_wrong_index_never_costs_a_record(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    journalled(audit, "a", numbered(0, 3))
    sequence(audit, KEY)
    with closing(sqlite3.connect(audit.log / INDEX_FILE)) as database, database:
        database.execute("INSERT INTO leaves VALUES (?, 0)", (leaf_hash(b'{"n":7}'),))
    journalled(audit, "b", numbered(7, 8))
    with pytest.raises(IntegrityError, match=INDEX_FILE):
        sequence(audit, KEY)
    (audit.log / INDEX_FILE).unlink()
    assert sequence(audit, KEY).added == 1


@pytest.mark.parametrize("harm", ["deleted", "of another log", "garbage"])
def test_the_index_is_rebuilt_from_the_log(tmp_path: Path, harm: str) -> None:
    audit, other = AuditDirectory(tmp_path / "log"), AuditDirectory(tmp_path / "other")
    journalled(audit, "a", numbered(0, 5))
    journalled(other, "a", numbered(100, 105))
    sequence(audit, KEY)
    sequence(other, KEY)
    (audit.log / INDEX_FILE).unlink()
    if harm == "of another log":
        shutil.copy(other.log / INDEX_FILE, audit.log / INDEX_FILE)
    if harm == "garbage":
        (audit.log / INDEX_FILE).write_bytes(b"garbage" * 1000)
        with pytest.raises(IntegrityError, match="delete"):
            sequence(audit, KEY)
        (audit.log / INDEX_FILE).unlink()
    journalled(audit, "b", numbered(4, 6))
    report = sequence(audit, KEY)
    assert (report.added, report.duplicates) == (1, 1)


def test_an_entry_is_found_by_its_names_with_and_without_the_index(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    entries = [b'{"receipt_id":"r%d"}' % number for number in range(4)]
    journalled(audit, "a", entries[:3])
    sequence(audit, KEY)
    # A sequencer that died between commit and indexing.
    with LogWriter.open(audit.log, DEFAULT_ORIGIN) as writer:
        writer.append(entries[3:], {})
    for _ in range(2):
        log = AuditLog.open(audit.log)
        assert [find_entry(log, f"r{number}") for number in range(5)] == [0, 1, 2, 3, None]
        assert [find_entry(log, leaf_hash(entry).hex()) for entry in entries] == [0, 1, 2, 3]
        (audit.log / INDEX_FILE).unlink(missing_ok=True)


def test_a_sequencer_that_dies_at_any_step_neither_loses_nor_repeats_a_record(tmp_path: Path) -> None:
    base = AuditDirectory(tmp_path / "base")
    journalled(base, "a", numbered(0, 250))
    older = sequence(base, KEY).checkpoint
    journalled(base, "b", numbered(250, 260))
    journalled(base, "c", [*numbered(260, 280), b'{"n":3}'])
    [torn] = base.journals.glob("c-*")
    with torn.open("ab") as handle:
        handle.write(b"acg1")

    for step in itertools.count(1):
        audit = AuditDirectory(tmp_path / str(step))
        shutil.copytree(base.root, audit.root)
        died = dies_at_step(step, lambda audit=audit: sequence(audit, KEY, batch_entries=12))
        with Journal(audit.journals, "aa") as late:
            # A record that sorts before those of the crashed run, so that a repeated run orders them anew.
            late.append(b'{"late":1}')
        sequence(audit, KEY)
        assert Counter(logged(audit)) == Counter([*numbered(0, 280), b'{"late":1}']), f"step {step}"
        log = AuditLog.open(audit.log)
        assert log.compact_range().root() == log.state.root_hash
        assert verify_growth(log, older, None, [VERIFIER]) == (250, 281)
        assert not list(audit.journals.glob("[bc]-*"))
        if not died:
            break
    assert step > 30


def dies_at_step(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a child process that dies, without any clean-up, before its n-th change of a file."""
    child = os.fork()
    if child == 0:
        steps = itertools.count(1)

        def mortal(call):
            def stepping(*args, **options):
                if next(steps) == step:
                    os._exit(9)
                return call(*args, **options)

            return stepping

        for name in ("replace", "rename", "unlink", "rmdir", "ftruncate", "fsync"):
            setattr(os, name, mortal(getattr(os, name)))
        outcome = 1
        try:
            action()
            outcome = 0
        finally:
            os._exit(outcome)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


WRITER = """
import asyncio, sys
from pathlib import Path
from acgs.audit.journal import Journal

async def client(journal, name):
    for number in range(1_000_000):
        entry = b'{"client":%d,"n":%d}' % (name, number)
        await journal.append_async(entry)
        sys.stdout.buffer.write(entry + b"\\n")
        sys.stdout.buffer.flush()

async def main():
    with Journal(Path(sys.argv[1]), "victim", durability=sys.argv[2], rotate_bytes=20_000) as journal:
        await asyncio.gather(*(client(journal, name) for name in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["os", "fsync"])
def test_what_a_killed_replica_acknowledged_is_in_the_log(tmp_path: Path, durability: str) -> None:
    audit = AuditDirectory(tmp_path)
    acknowledged: list[bytes] = []
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(audit.journals), durability], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        while len(acknowledged) < 3000:
            acknowledged.append(writer.stdout.readline())
        if durability == "os":
            # Merging while the replica writes, too.
            sequence(audit, KEY)
        writer.send_signal(signal.SIGKILL)
        acknowledged.extend(writer.stdout.readlines())
    assert writer.returncode == -signal.SIGKILL
    sequence(audit, KEY)
    entries = Counter(logged(audit))
    whole = [line[:-1] for line in acknowledged if line.endswith(b"\n")]
    assert len(whole) >= 3000
    assert [entry for entry in whole if entries[entry] != 1] == []
    assert set(entries.values()) == {1}
    assert not list(audit.journals.glob("*.wal"))
