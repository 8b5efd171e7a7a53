"""A replaced signing key counts for what the log held before, and for nothing else."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from acgs.audit.asking import Question, ask
from acgs.audit.entries import Event
from acgs.audit.journal import Journal
from acgs.audit.key_ring import KeyRing, RetiredKey, ends_of, read_ring, write_retired
from acgs.audit.keys import PublicKey, SigningKey
from acgs.audit.layout import AuditDirectory
from acgs.audit.log import AuditLog
from acgs.audit.places import place_of
from acgs.audit.receipts import DecisionFacts, ReceiptSigner
from acgs.audit.rotation import RETIRED, rotate_signing_key
from acgs.audit.sequencer import sequence
from acgs.audit.trust import published_keys
from acgs.audit.verification import verify_log
from acgs.errors import IntegrityError, UnavailableError

AT = "2026-11-30T00:00:00.000000Z"


@pytest.fixture
def audit(tmp_path: Path) -> AuditDirectory:
    """A log with two entries, signed by the first key."""
    made = AuditDirectory(tmp_path)
    key = SigningKey.load_or_create(made.signing_key)
    for _ in range(2):
        happened(made)
    sequence(made, key)
    return made


def happened(audit: AuditDirectory) -> Event:
    event = Event(kind="release.promoted", actor="mia", subject="triage@1.0.0")
    with Journal(audit.journals, f"test-{event.event_id}") as journal:
        journal.append(event.entry())
    return event


def present(audit: AuditDirectory) -> SigningKey:
    return SigningKey.load(audit.signing_key)


def rotate(audit: AuditDirectory) -> RetiredKey:
    return rotate_signing_key(audit, audit.signing_key, actor="root")


def record(key: SigningKey, successor: SigningKey, log_size: int) -> RetiredKey:
    return RetiredKey(
        public_key=base64.b64encode(key.public.raw).decode(),
        until=AT,
        log_size=log_size,
        successor=successor.public.key_id,
    ).signed_by(successor)


def ids(keys: tuple[PublicKey, ...]) -> list[str]:
    return [key.key_id for key in keys]


def test_a_retired_key_counts_for_what_the_log_held_by_then(audit: AuditDirectory) -> None:
    first = present(audit).public.key_id
    waiting = happened(audit)
    retired = rotate(audit)
    later = happened(audit)
    sequence(audit, present(audit))
    second = present(audit).public.key_id
    assert (retired.key.key_id, retired.successor, retired.log_size, retired.since) == (first, second, 3, None)
    ring = read_ring(audit, present(audit).public)
    assert ids(ring.accepted(place_of(audit, waiting))) == [second, first]
    assert ids(ring.accepted(place_of(audit, later))) == [second]
    assert ids(ring.accepted(place_of(audit, happened(audit)))) == [second]
    (told,) = ask(AuditLog.open(audit.log), Question(kind=RETIRED))
    assert (told.event.subject, told.event.actor, told.event.details["successor"]) == (first, "root", second)


def test_each_key_of_a_row_counts_up_to_its_own_end(audit: AuditDirectory) -> None:
    row = [present(audit).public.key_id]
    for _ in range(3):
        rotate(audit)
        happened(audit)
        row.append(present(audit).public.key_id)
    ring = read_ring(audit, present(audit).public)
    assert [entry.key.key_id for entry in ring.retired] == row[:-1][::-1]
    sizes = [entry.log_size for entry in ring.retired]
    assert sizes == sorted(sizes, reverse=True)
    assert ids(ring.accepted(0)) == row[::-1]
    assert ids(ring.accepted(sizes[0] - 1)) == row[::-1][:2]
    assert ring.retired[0].since == ring.retired[1].until


def test_the_log_goes_on_under_the_new_key_and_holds(audit: AuditDirectory) -> None:
    rotate(audit)
    for _ in range(2):
        happened(audit)
        sequence(audit, present(audit))
    keys = published_keys(audit)
    report = verify_log(AuditLog.open(audit.log), keys, [key.public for key in keys])
    assert report.holds, report.faults


def test_a_receipt_that_a_retired_key_signed_counts_only_where_the_log_held_it_by_then(audit: AuditDirectory) -> None:
    facts = DecisionFacts("0" * 64, "1" * 64, "2" * 16, "1.0.0", "finance", "comply", [])
    earlier = present(audit)
    issued = [ReceiptSigner(earlier, f"replica-{number}").issue_many([facts])[0] for number in range(2)]
    for number, receipt in enumerate(issued):
        with Journal(audit.journals, f"replica-{number}") as journal:
            journal.append(receipt.entry)
        if number == 0:
            rotate(audit)
    sequence(audit, present(audit))
    keys = published_keys(audit)
    receipt_keys = [key.public for key in keys]
    ends = ends_of(receipt_keys, read_ring(audit, present(audit).public).retired)
    assert ends == {earlier.public.key_id: 3}
    report = verify_log(AuditLog.open(audit.log), keys, receipt_keys, ends=ends)
    assert [fault.partition(":")[0] for fault in report.faults] == ["entry 4"]
    assert "which is not trusted" in report.faults[0]


def test_nobody_adds_a_key_that_the_one_in_force_does_not_vouch_for(audit: AuditDirectory) -> None:
    rotate(audit)
    evil, key = SigningKey.generate(), present(audit)
    forged = record(evil, evil, 10**6).model_copy(update={"successor": key.public.key_id})
    write_retired(audit, forged)
    assert evil.public.key_id not in ids(read_ring(audit, key.public).accepted(0))
    for change in ({"log_size": 10**6}, {"until": "2999-01-01T00:00:00.000000Z"}):
        honest = read_ring(audit, key.public).retired[0]
        assert KeyRing.of(key.public, [honest.model_copy(update=change)]).retired == ()


def test_an_earlier_key_does_not_count_longer_than_the_one_that_vouches_for_it() -> None:
    first, second, third = (SigningKey.generate() for _ in range(3))
    stolen = [record(second, third, 5), record(first, second, 10**6)]
    assert ids(KeyRing.of(third.public, stolen).accepted(0)) == [third.public.key_id, second.public.key_id]


def test_a_list_of_retired_keys_that_was_damaged_is_no_empty_list(audit: AuditDirectory) -> None:
    rotate(audit)
    audit.retired_keys.write_text("[{}]")
    with pytest.raises(IntegrityError, match="restore it from a copy"):
        read_ring(audit, present(audit).public)


def test_an_event_that_the_log_tells_otherwise_has_no_place(audit: AuditDirectory) -> None:
    event = happened(audit)
    assert place_of(audit, event) is None
    sequence(audit, present(audit))
    assert place_of(audit, event) == 2
    with pytest.raises(IntegrityError, match="another story"):
        place_of(audit, event.model_copy(update={"actor": "eve"}))


def test_while_a_sequencer_is_at_work_the_key_stays(audit: AuditDirectory) -> None:
    from acgs.audit.log_writer import LogWriter

    before = present(audit).public.key_id
    with LogWriter.open(audit.log, "acgs.local/audit"), pytest.raises(UnavailableError):
        rotate(audit)
    assert present(audit).public.key_id == before
    assert not audit.retired_keys.exists()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "step",
    [
        "acgs.audit.rotation.write_retired",
        "acgs.audit.journal.Journal.append",
        "pathlib.Path.replace",
        "acgs.audit.rotation.publish_key",
        "acgs.audit.log_writer.LogWriter.publish_checkpoint",
    ],
)
def test_a_kill_in_the_middle_leaves_one_key_in_force_and_the_next_rotation_works(
    audit: AuditDirectory, step: str, when: str
) -> None:
    first = present(audit).public
    words = [sys.executable, "-m", "tests.acgs.audit.killed_rotation", step, when, str(audit.root)]
    root = Path(__file__).resolve().parents[3]
    killed = subprocess.run(words, cwd=root, check=False, timeout=120, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    key = present(audit)
    sequence(audit, key)
    assert first.key_id in ids(read_ring(audit, key.public).accepted(0))
    rotate(audit)
    sequence(audit, present(audit))
    accepted = ids(read_ring(audit, present(audit).public).accepted(0))
    assert accepted[0] == present(audit).public.key_id
    assert {first.key_id, key.public.key_id} <= set(accepted)
