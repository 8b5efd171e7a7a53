"""What a promotion must be able to show: staging and contract, signed, of this version against what is live now.

A document that does not say PASS can be overridden by two approvers who are neither each other nor the requester, each
with a reason; everything else cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from acgs.audit.entries import Event
from acgs.audit.receipts import Instant
from acgs.errors import AcgsError, InvalidInputError
from acgs.registry.model_version import VersionFacts
from acgs.release.approvals import approval_holds
from acgs.release.documents import verify_document
from acgs.release.policy import ModelRules
from acgs.release.told import latest_told
from acgs.release.trust import Trust
from acgs.serving.deployments.documents import Document, SignedDocument
from acgs.serving.deployments.record import Approval, EvidenceLink

APPROVERS_NEEDED: Final = 2
_COMMANDS: Final = {"staging": "stage", "contract": "contract"}


class NotReleasableError(AcgsError):
    """The version may not be promoted; the message says what is missing."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Grounds:
    """On what a promotion rests."""

    evidence: tuple[EvidenceLink, ...]
    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that is known for and against a promotion. Documents latest first.

    `events` tell, in order, of documents that were made: one that is told of and is not there was taken away.
    Consent given before the version was last taken back, at `taken_back_at`, is used up.
    """

    facts: VersionFacts
    baseline: str | None
    constitution_digest: str
    rules: ModelRules
    requested_by: str
    staging: Sequence[SignedDocument]
    contracts: Sequence[SignedDocument]
    approvals: Sequence[Approval]
    events: Sequence[Event] = ()
    taken_back_at: Instant | None = None


def judge(case: Case, trust: Trust) -> Grounds:
    """The grounds for a promotion.

    Raises:
        InvalidInputError: it is live already.
        NotReleasableError: a document is missing, is not the latest that was made, is about something else, was made
            under another policy, or does not say PASS and was not overridden.
        IntegrityError: a document was changed after it was signed.
    """
    name = case.facts.reference
    if case.facts.constitution_digest != case.constitution_digest:
        raise NotReleasableError(
            f"{name} was made under another constitution ({case.facts.constitutional_hash}); make a version under the "
            "one in force",
            field="version",
        )
    if case.baseline == case.facts.version:
        raise InvalidInputError(f"{name} is live already", field="version")
    staging = _latest(case.staging, case, trust)
    if staging is None:
        raise NotReleasableError(f"{name} was never staged; run 'acgs release stage {name}'", field="version")
    needed = [staging]
    if case.baseline is not None:
        contract = _latest([d for d in case.contracts if d.document.baseline == case.baseline], case, trust)
        if contract is None:
            raise NotReleasableError(
                f"{name} was not held against {case.baseline}, which is live; run 'acgs release contract {name}'",
                field="version",
            )
        _check_data(contract, staging, case)
        needed.append(contract)
    approvals = [approval for document in needed for approval in _approvals(document, case, trust)]
    links = tuple(EvidenceLink(kind=d.kind, digest=d.digest(), verdict=d.verdict) for d in needed)
    return Grounds(links, tuple(approvals))


def _latest(documents: Sequence[SignedDocument], case: Case, trust: Trust) -> Document | None:
    """The latest document, which stands for this very version; an older, better one does not count."""
    if not documents:
        return None
    document = verify_document(documents[0], trust)
    told = latest_told(case.events, case.facts.reference, document.kind, document.baseline)
    if told not in (None, document.digest()):
        raise NotReleasableError(
            f"the {document.kind} document of {case.facts.reference} is not the latest: {told} was made after it and "
            f"is missing; run 'acgs release {_COMMANDS[document.kind]} {case.facts.reference}' again",
            field="version",
        )
    if document.facts_digest != case.facts.digest() or document.constitution_digest != case.constitution_digest:
        raise NotReleasableError(
            f"the {document.kind} document of {case.facts.reference} is about another state of it; make it again",
            field="version",
        )
    if document.policy_digest != case.rules.digest():
        raise NotReleasableError(
            f"the {document.kind} document of {case.facts.reference} was made under another release policy than is in "
            f"force now; run 'acgs release {_COMMANDS[document.kind]} {case.facts.reference}' again",
            field="version",
        )
    return document


def _check_data(contract: Document, staging: Document, case: Case) -> None:
    """Rows that please may not be chosen for the contract alone."""
    wanted = case.rules.contract_rows(staging.data_digest)
    if wanted is None or contract.data_digest != wanted:
        raise NotReleasableError(
            f"the contract of {case.facts.reference} is about other held-out rows than its staging; run "
            f"'acgs release contract {case.facts.reference}' again with the same",
            field="version",
        )


def _approvals(document: Document, case: Case, trust: Trust) -> list[Approval]:
    if document.verdict == "PASS":
        return []
    digest = document.digest()
    told = [a for a in case.approvals if a.document == digest and a.at > (case.taken_back_at or "")]
    given = [a for a in told if a.actor != case.requested_by and approval_holds(a, trust)]
    first_by_actor = {approval.actor: approval for approval in reversed(given)}
    if len(first_by_actor) < APPROVERS_NEEDED:
        forged = sum(not approval_holds(a, trust) for a in told)
        ignored = f"; {forged} on record without a signature that holds, which count for nothing" if forged else ""
        if case.taken_back_at is not None:
            ignored += f"; what was given before it was taken back at {case.taken_back_at} is used up: make it again"
        raise NotReleasableError(
            f"{document.kind} of {case.facts.reference} says {document.verdict}: see 'acgs release document {digest}'. "
            f"To go on all the same, {APPROVERS_NEEDED} approvers other than who promotes must run "
            f"'acgs release approve {digest} --reason ...' ({len(first_by_actor)} did{ignored})",
            field="version",
        )
    return sorted(first_by_actor.values(), key=lambda approval: approval.at)
