"""Approvals: consent that the installation has signed, so that a row put into the database is none."""

from __future__ import annotations

from collections.abc import Sequence

import rfc8785
from pydantic import ValidationError

from acgs.audit.keys import SigningKey
from acgs.errors import AcgsError
from acgs.registry.lifecycle import EventLog, LifecycleEvent
from acgs.release.trust import OVERRIDE, Trust
from acgs.serving.deployments.documents import Document
from acgs.serving.deployments.record import Approval


class AlreadyApprovedError(AcgsError):
    """The same person did before; two different ones are needed."""

    code = "conflict"

    def __init__(self, before: Approval, *, approvals: int) -> None:
        super().__init__(
            f"{before.actor} approved this document already, at {before.at[:19]}; it takes another person "
            f"(approvals now: {approvals})",
            field="document",
        )


def sign_approval(approval: Approval, key: SigningKey) -> Approval:
    """The approval with an Ed25519 signature over document, actor, token, reason and time."""
    return approval.model_copy(update={"signature": key.sign_text(_statement(approval))})


def approval_holds(approval: Approval, trust: Trust) -> bool:
    """Whether a key that counts for it signed this very approval."""
    signature = approval.signature
    return bool(approval.token_id) and trust.verifies(signature, signature, _statement(approval))


def approvals_from(events: Sequence[LifecycleEvent]) -> list[Approval]:
    """The approvals that events tell of, whether they hold or not.

    An event that names no document, or gives no reason, approves nothing and is left out.
    """
    found = []
    for event in events:
        if event.kind != OVERRIDE:
            continue
        told = {name: event.details.get(name, "") for name in ("document", "reason", "token_id", "signature")}
        try:
            found.append(Approval.model_validate({**told, "actor": event.actor, "at": event.occurred_at}))
        except ValidationError:
            continue
    return found


def record_approval(events: EventLog, document: Document, given: Approval, key: SigningKey, trust: Trust) -> int:
    """Sign an approval and keep it; how many people have consented to the document now.

    Raises:
        AlreadyApprovedError: the same person did before.
    """
    told = approvals_from(events.events(name=document.model, kinds=[OVERRIDE]))
    before = {a.actor: a for a in told if a.document == given.document and approval_holds(a, trust)}
    if given.actor in before:
        raise AlreadyApprovedError(before[given.actor], approvals=len(before))
    details = sign_approval(given, key).model_dump(include={"document", "reason", "token_id", "signature"})
    events.append(
        LifecycleEvent(OVERRIDE, given.actor, document.model, document.version, details, occurred_at=given.at)
    )
    return len(before) + 1


def _statement(approval: Approval) -> bytes:
    signed = approval.model_dump(mode="json", exclude={"signature"})
    return rfc8785.dumps({"format": "acgs-release-approval/1", **signed})
