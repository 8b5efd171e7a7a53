from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from acgs.audit.entries import Event
from acgs.audit.journal import Journal
from acgs.audit.keys import SigningKey
from acgs.audit.layout import DEFAULT_ORIGIN, AuditDirectory
from acgs.audit.log import CHECKPOINT_FILE, AuditLog
from acgs.audit.log_writer import LogWriter
from acgs.audit.notes import VerifierKey
from acgs.audit.receipts import DecisionFacts
from acgs.audit.recorder import AuditRecorder
from acgs.audit.sequencer import sequence
from acgs.audit.verification import LogReport, verify_growth, verify_log
from acgs.errors import AuditWriteError, IntegrityError

KEY = SigningKey.generate()
VERIFIER = VerifierKey(DEFAULT_ORIGIN, KEY.public)


def facts(number: int) -> DecisionFacts:
    return DecisionFacts(f"{number:064x}", "1" * 64, "2" * 16, "1.0.0", "finance", "comply")


def recorded(audit: AuditDirectory, count: int) -> None:
    """Record decisions and one event as a replica would, and merge them."""
    recorder = AuditRecorder(Journal(audit.journals, "replica-1"), KEY, "replica-1")
    asyncio.run(recorder.record(facts(0)))
    asyncio.run(recorder.record_many(map(facts, range(1, count))))
    recorder.record_event(Event(kind="release.promoted", actor="ci", subject="guard 2.0.0"))
    recorder.close()
    sequence(audit, KEY)


def checked(audit: AuditDirectory, *, key: VerifierKey = VERIFIER) -> LogReport:
    return verify_log(AuditLog.open(audit.log), [key], [key.public])


def alter(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_an_honest_log_holds(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    recorded(audit, 300)
    report = checked(audit)
    assert report.holds, report.faults
    assert (report.size, report.receipts, report.events, report.unsigned) == (301, 300, 1, 0)
    assert report.root == AuditLog.open(audit.log).state.root


def test_an_altered_verdict_is_found_and_its_entry_named(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    recorded(audit, 300)
    alter(audit.log / "tile/entries/000", b'"verdict":"comply"', b'"verdict":"violat"')
    faults = checked(audit).faults
    assert "entry 0 does not fit its leaf hash" in faults
    assert any("altered after it was signed" in fault for fault in faults)
    assert "the entries do not add up to the checkpoint's root" in faults


@pytest.mark.parametrize("tile", ["tile/0/000", "tile/0/001.p/45", "tile/1/000.p/1"])
def test_an_altered_tile_is_found(tmp_path: Path, tile: str) -> None:
    audit = AuditDirectory(tmp_path)
    recorded(audit, 300)
    data = bytearray((audit.log / tile).read_bytes())
    data[7] ^= 1
    (audit.log / tile).write_bytes(data)
    assert not checked(audit).holds


def test_another_key_does_not_vouch_for_the_log(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    recorded(audit, 2)
    report = checked(audit, key=VerifierKey(DEFAULT_ORIGIN, SigningKey.generate().public))
    assert any(fault.startswith("checkpoint:") for fault in report.faults)
    assert any("not trusted" in fault for fault in report.faults)


def test_a_log_without_its_checkpoint_does_not_hold(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    recorded(audit, 2)
    (audit.log / CHECKPOINT_FILE).unlink()
    assert any("no signed checkpoint" in fault for fault in checked(audit).faults)


def test_entries_not_yet_signed_are_counted_and_are_no_fault(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    recorded(audit, 2)
    with LogWriter.open(audit.log, DEFAULT_ORIGIN) as writer:
        writer.append([Event(kind="x", actor="a", subject="s").entry()], {})
    report = checked(audit)
    assert report.holds
    assert (report.size, report.unsigned) == (4, 1)


def test_an_entry_that_is_no_record_is_a_fault(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    with Journal(audit.journals, "r") as journal:
        journal.append(b'{"type":"note"}')
    sequence(audit, KEY)
    assert checked(audit).faults == ("entry 0: the entry is neither a receipt nor an event",)


def test_a_truncated_log_that_is_consistent_in_itself_is_found_by_an_older_checkpoint(tmp_path: Path) -> None:
    audit, cut = AuditDirectory(tmp_path / "full"), AuditDirectory(tmp_path / "cut")
    recorded(audit, 20)
    older = (audit.log / CHECKPOINT_FILE).read_text()
    with Journal(cut.journals, "r") as journal:
        journal.append_batch(list(AuditLog.open(audit.log).entries(0, 15)))
    sequence(cut, KEY)
    assert checked(cut).holds
    with pytest.raises(IntegrityError, match="shrank"):
        verify_growth(AuditLog.open(cut.log), older, None, [VERIFIER])
    # A checkpoint put back does not bring the entries back.
    (cut.log / CHECKPOINT_FILE).write_text(older)
    assert any("records were removed" in fault for fault in checked(cut).faults)
    with pytest.raises(IntegrityError, match="records were removed"):
        verify_growth(AuditLog.open(cut.log), older, None, [VERIFIER])


def test_growth_between_two_saved_checkpoints_is_shown(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    notes = []
    for count in (5, 7, 300):
        recorded(audit, count)
        notes.append((audit.log / CHECKPOINT_FILE).read_text())
    log = AuditLog.open(audit.log)
    assert verify_growth(log, notes[0], notes[1], [VERIFIER]) == (6, 14)
    assert verify_growth(log, notes[0], None, [VERIFIER]) == (6, 315)
    with pytest.raises(IntegrityError):
        verify_growth(log, notes[1], notes[0], [VERIFIER])


def test_no_receipt_is_given_where_it_cannot_be_recorded(tmp_path: Path) -> None:
    recorder = AuditRecorder(Journal(tmp_path, "replica-1"), KEY, "replica-1")
    recorder.close()
    with pytest.raises(AuditWriteError):
        asyncio.run(recorder.record(facts(1)))


def test_the_receipt_that_is_answered_is_the_one_on_record(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    recorder = AuditRecorder(Journal(audit.journals, "replica-1", durability="fsync"), KEY, "replica-1")
    receipt = asyncio.run(recorder.record(facts(1)))
    recorder.close()
    sequence(audit, KEY)
    [entry] = AuditLog.open(audit.log).entries()
    assert json.loads(entry) == receipt.fields
