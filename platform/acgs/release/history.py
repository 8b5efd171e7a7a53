"""What was in production when, on whose approval, with which evidence: as one document that verifies offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from acgs.audit.entries import Event
from acgs.audit.keys import PublicKey
from acgs.audit.merkle import leaf_hash
from acgs.audit.notes import VerifierKey
from acgs.audit.proofs import InclusionProof, verify_proof
from acgs.audit.receipts import Instant
from acgs.errors import AcgsError, IntegrityError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.release.documents import verify_document
from acgs.serving.deployments.documents import SignedDocument
from acgs.serving.deployments.record import Deployment
from acgs.serving.history import LiveSpan


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Span(_Part):
    """One version was live from `begins` to `ends` (None: it still is); `candidate` had `percent` of the callers."""

    version: str | None
    candidate: str | None
    percent: int
    epoch: int
    begins: Instant
    ends: Instant | None
    actor: str


class ProvenEvent(_Part):
    """A lifecycle event as the audit log holds it, with its proof (C2SP tlog-proof); None: not merged into it yet."""

    event: Event
    proof: str | None = None


class ReleaseHistory(_Part):
    """All of one model's."""

    format: Literal["acgs-release-history/1"] = "acgs-release-history/1"
    model: str
    made_at: Instant
    live: tuple[Span, ...]
    deployments: tuple[Deployment, ...]
    documents: tuple[SignedDocument, ...]
    events: tuple[ProvenEvent, ...]


class Check(_Part):
    """What an offline check of a history found. `unproven` events were not in the audit log when it was made."""

    documents: int
    proven: int
    unproven: int
    faults: tuple[str, ...]
    holds: Annotated[bool, Field(description="no fault, and nothing unproven")]


Prove = Callable[[LifecycleEvent], str | None]
"""The proof that the audit log holds an event; None while it does not."""


def assemble(
    model: str,
    spans: Sequence[LiveSpan],
    deployments: Sequence[Deployment],
    *,
    documents: Sequence[SignedDocument],
    events: Sequence[LifecycleEvent],
    prove: Prove,
    made_at: str,
) -> ReleaseHistory:
    """One document from the parts."""
    live = [
        Span(
            version=span.version,
            candidate=span.other,
            percent=span.percent,
            epoch=span.epoch,
            begins=_instant(span.begins),
            ends=None if span.ends is None else _instant(span.ends),
            actor=span.actor,
        )
        for span in spans
    ]
    return ReleaseHistory(
        model=model,
        made_at=made_at,
        live=tuple(live),
        deployments=tuple(deployments),
        documents=tuple(documents),
        events=tuple(ProvenEvent(event=event.entry(), proof=prove(event)) for event in events),
    )


def verify_history(history: ReleaseHistory, key: PublicKey, log_keys: Sequence[VerifierKey]) -> Check:
    """Check a history with public keys alone: every document's signature, every event's place in the signed log, and
    that each promotion rests on documents that are there.
    """
    faults: list[str] = []
    known: dict[str, SignedDocument] = {}
    for signed in history.documents:
        try:
            known[verify_document(signed, key).digest()] = signed
        except IntegrityError as error:
            faults.append(error.message)
    proven = 0
    for item in history.events:
        if item.proof is None:
            continue
        try:
            verify_proof(InclusionProof.parse(item.proof), leaf_hash(item.event.entry()), log_keys)
            proven += 1
        except AcgsError as error:
            faults.append(f"event {item.event.kind} of {item.event.subject}: {error.message}")
    for deployment in history.deployments:
        missing = [link.digest for link in deployment.evidence if link.digest not in known]
        faults += [
            f"{deployment.model} {deployment.version} rests on document {digest}, which is not here"
            for digest in missing
        ]
    faults += _untold(history)
    unproven = sum(item.proof is None for item in history.events)
    return Check(
        documents=len(known),
        proven=proven,
        unproven=unproven,
        faults=tuple(faults),
        holds=not faults and not unproven,
    )


def _untold(history: ReleaseHistory) -> list[str]:
    """Every table that changed what was live was made by an event, which the log has; a row put in by hand was not."""
    told = {item.event.details.get("epoch") for item in history.events}
    return [f"nothing tells why epoch {span.epoch} came into force" for span in history.live if span.epoch not in told]


def _instant(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
