"""What happened, by subject, kind, actor and time, as the log has it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from acgs.audit.asking import Question, ask, moment
from acgs.audit.entries import Event
from acgs.audit.keys import SigningKey
from acgs.audit.log import AuditLog
from acgs.audit.log_writer import LogWriter
from acgs.audit.receipts import DecisionFacts, ReceiptSigner
from acgs.errors import IntegrityError, InvalidInputError

EVENTS = [
    ("model.version.created", "triage@1.0.0", "tara", "2026-11-01T08:00:00.000000Z"),
    ("release.promoted", "triage@1.0.0", "olga", "2026-11-02T08:00:00.000000Z"),
    ("release.promoted", "triage-night@1.0.0", "olga", "2026-11-03T08:00:00.000000Z"),
    ("released", "triage", "olga", "2026-11-04T08:00:00.000000Z"),
    ("token.issued", "token-1", "root", "2026-11-05T08:00:00.000000Z"),
    ("release.rolled_back", "triage@1.0.0", "controller", "2026-11-06T08:00:00.000000Z"),
]


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    """The events, each behind 300 receipts whose query looks like an event."""
    facts = DecisionFacts("0" * 64, "1" * 64, "2" * 16, "1.0.0", "finance", "comply", ['"type":"event"'])
    receipts = [issued.entry for issued in ReceiptSigner(SigningKey.generate(), "replica-1").issue_many([facts] * 300)]
    with LogWriter.open(tmp_path, "example.com/log") as writer:
        for kind, subject, actor, at in EVENTS:
            event = Event(kind=kind, actor=actor, subject=subject, occurred_at=at)
            writer.append([*receipts, event.entry()], {})
    return AuditLog.open(tmp_path)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"subject": "triage@1.0.0"}, [0, 1, 5]),
        ({"model": "triage"}, [0, 1, 3, 5]),
        ({"kind": "release"}, [1, 2, 5]),
        ({"kind": "release.promoted"}, [1, 2]),
        ({"kind": "rel"}, []),
        ({"actor": "olga"}, [1, 2, 3]),
        ({"model": "triage", "kind": "release", "actor": "olga"}, [1]),
        ({"since": moment("2026-11-03", "since")}, [2, 3, 4, 5]),
        ({"until": moment("2026-11-03", "until")}, [0, 1]),
        ({"since": moment("2026-11-02T10:00:00+02:00", "since"), "until": moment("2026-11-04", "until")}, [1, 2]),
        ({"subject": "nobody"}, []),
    ],
)
def test_events_are_found_by_what_is_asked(log: AuditLog, question: dict[str, Any], expected: list[int]) -> None:
    found = list(ask(log, Question(**question)))
    assert [EVENTS.index((e.kind, e.subject, e.actor, e.occurred_at)) for _, e in found] == expected
    assert [index for index, _ in found] == [301 * number + 300 for number in expected]


def test_an_event_that_was_altered_is_not_told(log: AuditLog, tmp_path: Path) -> None:
    for file in tmp_path.rglob("*"):
        if file.is_file() and b"olga" in file.read_bytes():
            file.write_bytes(file.read_bytes().replace(b"olga", b"evil"))
    assert [found.position for found in ask(AuditLog.open(tmp_path), Question(actor="tara"))] == [300]
    with pytest.raises(IntegrityError, match="it was altered"):
        list(ask(AuditLog.open(tmp_path), Question(actor="evil")))


def test_a_time_that_is_none_is_refused() -> None:
    assert moment("2026-11-30T14:00:00Z", "since") == datetime(2026, 11, 30, 14, tzinfo=UTC)
    with pytest.raises(InvalidInputError) as refused:
        moment("yesterday", "since")
    assert refused.value.field == "since"
