"""What was in production when, on whose approval, with which evidence: as one signed document that verifies offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from acgs.audit.entries import Event
from acgs.audit.key_ring import KeyRing, RetiredKey
from acgs.audit.keys import PublicKey, SigningKey
from acgs.audit.merkle import leaf_hash
from acgs.audit.notes import VerifierKey
from acgs.audit.proofs import InclusionProof, verify_proof
from acgs.audit.receipts import Instant
from acgs.errors import AcgsError, IntegrityError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.semver import ModelName
from acgs.release.approvals import approval_holds
from acgs.release.derivation import Span, ToldDeployment, derive, epoch_of, spans_of
from acgs.release.documents import verify_document
from acgs.release.foundations import unfounded
from acgs.release.requirements import APPROVERS_NEEDED
from acgs.release.trust import Trust, places_of
from acgs.serving.deployments.documents import Document, SignedDocument
from acgs.serving.deployments.record import Deployment, DeploymentKind
from acgs.serving.store import RecordedTable


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ProvenEvent(_Part):
    """A lifecycle event as the audit log holds it, with its proof (C2SP tlog-proof); None: not merged into it yet."""

    event: Event
    proof: str | None = None


class ReleaseHistory(_Part):
    """All of one model's: what its tables and deployments say, and the events that must tell the same."""

    format: Literal["acgs-release-history/2"] = "acgs-release-history/2"
    model: ModelName
    made_at: Instant
    live: tuple[Span, ...]
    deployments: tuple[ToldDeployment, ...]
    documents: tuple[SignedDocument, ...]
    events: tuple[ProvenEvent, ...]
    retired_keys: tuple[RetiredKey, ...] = Field((), description="that signed some of it before they were replaced")
    signature: str = Field("", description="Ed25519, base64, over the canonical JSON of all else")

    def canonical(self) -> bytes:
        """Canonical JSON (RFC 8785): what is signed."""
        return rfc8785.dumps(self.model_dump(mode="json", exclude={"signature"}))

    @model_serializer(mode="wrap")
    def _as_signed(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without retired keys there is no such field, as in histories from before there were any."""
        fields: dict[str, Any] = handler(self)
        if not self.retired_keys:
            fields.pop("retired_keys", None)
        return fields


class Check(_Part):
    """What an offline check of a history found. `unproven` events were not in the audit log when it was made."""

    model: str
    made_at: Instant
    documents: int
    proven: int
    unproven: int
    faults: tuple[str, ...]
    holds: Annotated[bool, Field(description="no fault, and nothing unproven")]


Prove = Callable[[LifecycleEvent], str | None]
"""The proof that the audit log holds an event; None while it does not."""


def assemble(
    model: str,
    tables: Sequence[RecordedTable],
    deployments: Sequence[Deployment],
    *,
    documents: Sequence[SignedDocument],
    events: Sequence[LifecycleEvent],
    prove: Prove,
    made_at: str,
    key: SigningKey,
    retired_keys: Sequence[RetiredKey] = (),
) -> ReleaseHistory:
    """One signed document from what the database has of a model. Deployments latest first, the rest in order."""
    proven = tuple(ProvenEvent(event=event.entry(), proof=prove(event)) for event in events)
    history = ReleaseHistory(
        model=model,
        made_at=made_at,
        live=spans_of(model, tables, [item.event for item in proven]),
        deployments=tuple(map(ToldDeployment.of, reversed(deployments))),
        documents=tuple(documents),
        events=proven,
        retired_keys=tuple(retired_keys),
    )
    return sign_history(history, key)


def sign_history(history: ReleaseHistory, key: SigningKey) -> ReleaseHistory:
    """The history under the key's signature; without it, whoever passes it on could cut off its end."""
    return history.model_copy(update={"signature": key.sign_text(history.canonical())})


def verify_history(history: ReleaseHistory, key: PublicKey, log_keys: Sequence[VerifierKey]) -> Check:
    """Check a history with public keys alone.

    The whole is signed; every event is in the signed log, of this model, and follows the one before; what was live and
    the deployments are just what the events tell; each deployment rests on signed documents that say what it says of
    them, on all that it needed and on the latest, and where one says no, on approvals that are signed. `key` is the
    one in force; an earlier one that it vouches for counts for what the log is proven to have held before that was
    retired.
    """
    signed_by_key = key.verify_text(history.signature, history.canonical())
    faults = [] if signed_by_key else ["the history was changed, cut short, or signed by another key"]
    indices, wrong = _proven(history, log_keys)
    told = [(item.event.kind, item.event.details, indices.get(item.event.event_id)) for item in history.events]
    trust = Trust(KeyRing.of(key, history.retired_keys), places_of(told))
    known: dict[str, Document] = {}
    for signed in history.documents:
        try:
            document = verify_document(signed, trust)
            known[document.digest()] = document
        except IntegrityError as error:
            faults.append(error.message)
    faults += wrong
    faults += _gaps(history)
    faults += _untold(history)
    events = [item.event for item in history.events]
    for deployment in history.deployments:
        missing = _groundless(history, deployment, known, trust) + unfounded(
            history.model, deployment, history.deployments, events, known
        )
        faults += [f"{history.model} {deployment.version} {why}" for why in missing]
    unproven = sum(item.proof is None for item in history.events)
    return Check(
        model=history.model,
        made_at=history.made_at,
        documents=len(known),
        proven=len(indices),
        unproven=unproven,
        faults=tuple(faults),
        holds=not faults and not unproven,
    )


def _proven(history: ReleaseHistory, log_keys: Sequence[VerifierKey]) -> tuple[dict[str, int], list[str]]:
    """The index in the log of each event whose proof holds, by its identifier; and what does not hold."""
    indices: dict[str, int] = {}
    faults = []
    for item in history.events:
        if item.proof is None:
            continue
        try:
            proof = InclusionProof.parse(item.proof)
            verify_proof(proof, leaf_hash(item.event.entry()), log_keys)
            indices[item.event.event_id] = proof.index
        except AcgsError as error:
            faults.append(f"event {item.event.kind} of {item.event.subject}: {error.message}")
    return indices, faults


def _gaps(history: ReleaseHistory) -> list[str]:
    """Each event names the one before it of the same model, so none is missing in between, and none is another's."""
    faults = [] if history.events else ["no event tells of the model"]
    before = None
    for item in history.events:
        event = item.event
        if event.subject.partition("@")[0] != history.model:
            faults.append(f"event {event.kind} is of {event.subject}, not of {history.model}")
        if event.details.get("previous", "") != before:
            faults.append(f"event {event.kind} of {event.subject} does not follow the one before it: one is missing")
        before = event.event_id
    return faults


def _untold(history: ReleaseHistory) -> list[str]:
    """What the database had beside what the events tell: a row that was put in, changed or taken out by hand."""
    events = [item.event for item in history.events]
    told = {epoch_of(event) for event in events}
    faults = [
        f"nothing tells why epoch {span.epoch} came into force" for span in history.live if span.epoch not in told
    ]
    try:
        live, deployments = derive(history.model, events)
    except IntegrityError as error:
        return [*faults, error.message]
    if live != history.live:
        faults.append("what is said to have been live is not what the events tell")
    if deployments != history.deployments:
        faults.append("the deployments are not those that the events tell of")
    return faults


def _groundless(
    history: ReleaseHistory, deployment: ToldDeployment, known: Mapping[str, Document], trust: Trust
) -> list[str]:
    """What a deployment lacks. Who goes back takes the grounds of the version with it, approvals included."""
    faults = [] if deployment.evidence else ["rests on no document"]
    for link in deployment.evidence:
        document = known.get(link.digest)
        if document is None:
            faults.append(f"rests on document {link.digest}, which is not here")
            continue
        said = (document.model, document.version, document.kind, document.verdict)
        if said != (history.model, deployment.version, link.kind, link.verdict):
            faults.append(f"rests on document {link.digest}, which says something else")
        approvers = {
            given.actor
            for given in deployment.approvals
            if given.document == link.digest and approval_holds(given, trust)
            if given.actor != deployment.requested_by or deployment.kind is DeploymentKind.ROLLBACK
        }
        if link.verdict != "PASS" and len(approvers) < APPROVERS_NEEDED:
            faults.append(f"went on in spite of {link.kind} {link.verdict}, with {len(approvers)} approvals that hold")
    faults += [
        f"has an approval of {a.actor} that does not hold" for a in deployment.approvals if not approval_holds(a, trust)
    ]
    return faults
