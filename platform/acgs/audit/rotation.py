"""Replacing the key that signs checkpoints, receipts, versions and releases."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

from acgs.audit.entries import Event
from acgs.audit.journal import Journal
from acgs.audit.key_ring import RetiredKey, read_ring, write_retired
from acgs.audit.keys import SigningKey
from acgs.audit.layout import DEFAULT_ORIGIN, AuditDirectory
from acgs.audit.notes import VerifierKey
from acgs.audit.receipts import utc_instant
from acgs.audit.sequencer import sequence
from acgs.audit.trust import publish_key
from acgs.errors import UnavailableError
from acgs.files import sync_directory

RETIRED: Final = "signing.key.retired"
NEXT_SUFFIX: Final = ".next"
_JOURNAL: Final = "key-rotation"


def rotate_signing_key(audit: AuditDirectory, path: Path, *, actor: str, origin: str = DEFAULT_ORIGIN) -> RetiredKey:
    """Put a new key into the file, and say until which place of the log the earlier one counts.

    All that waits in journals is merged first, so that whatever was signed until now stands before that place. The
    rename of the key file decides: a rotation that ends before it has not happened, and the next one goes on with the
    same new key; one that ends after it is done.

    Raises:
        UnavailableError: a sequencer is at work, so that the platform may be; or the file cannot be written.
        IntegrityError: the log does not hold.
    """
    earlier = SigningKey.load(path)
    merged = sequence(audit, earlier, origin=origin)
    publish_key(audit, VerifierKey(origin, earlier.public))
    draft = path.with_name(path.name + NEXT_SUFFIX)
    try:
        new = SigningKey.load_or_create(draft)
        before = read_ring(audit, earlier.public).retired
        record = RetiredKey(
            public_key=base64.b64encode(earlier.public.raw).decode("ascii"),
            since=before[0].until if before else None,
            until=utc_instant(),
            log_size=merged.size,
            successor=new.public.key_id,
        ).signed_by(new)
        write_retired(audit, record)
        details = {"successor": new.public.key_id, "log_size": merged.size}
        event = Event(kind=RETIRED, actor=actor, subject=earlier.public.key_id, details={**details})
        with Journal(audit.journals, f"{_JOURNAL}-{event.event_id}", durability="fsync") as journal:
            journal.append(event.entry())
        draft.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UnavailableError(
            f"the signing key {path.name} cannot be replaced ({error.strerror}); nothing has changed", field="key"
        ) from error
    publish_key(audit, VerifierKey(origin, new.public))
    sequence(audit, new, origin=origin)
    return record
