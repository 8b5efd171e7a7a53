"""The signed documents on which a promotion rests: each is measured, judged under the release policy, and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.key_ring import KeyRing, read_ring
from acgs.audit.receipts import utc_instant
from acgs.constitution.lock import LockedConstitution
from acgs.errors import AcgsError, InvalidInputError
from acgs.mlops.measuring import DiedError, Measuring
from acgs.registry.catalogue import Record
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.model_version import VersionFacts
from acgs.registry.registry import Registry
from acgs.release.approvals import approvals_from
from acgs.release.attempts import confidence_of
from acgs.release.documents import sign_document
from acgs.release.guards.guard import ErrorBudget
from acgs.release.model_contract import ModelMargins, model_contract
from acgs.release.policy import ModelRules
from acgs.release.policy_in_force import PolicyInForce, Witness, policy_in_force
from acgs.release.promotion import live_version, taken_back
from acgs.release.requirements import Case
from acgs.release.staging.held_out import HeldOutRow, distinct_rows, rows_digest
from acgs.release.staging.limits import StagingLimits
from acgs.release.staging.run import Told
from acgs.release.told import TOLD_AS
from acgs.release.trust import TELLING, Trust, places_of
from acgs.serving.deployments.attempts import Attempt, AttemptStore
from acgs.serving.deployments.documents import Document, DocumentKind, SignedDocument
from acgs.serving.deployments.record import DeploymentKind, DeploymentStatus
from acgs.serving.deployments.store import DeploymentStore
from acgs.serving.store import ServingStore
from acgs.settings import Settings
from acgs.statistics.evidence import Verdict

NOTHING_MEASURED: Final = "nothing_measured"
"""In the body of a contract whose process died: why. There is no report then."""
_LONGEST_REASON: Final = 500


def installed_policy(settings: Settings, registry: Registry) -> PolicyInForce:
    """The release policy in force.

    Raises:
        PolicyUnusableError: nobody can tell what it says.
    """
    witness = Witness(_ring(settings), registry.place, registry.last_told)
    return policy_in_force(settings.release_policy_path, registry.events, witness)


def _ring(settings: Settings) -> KeyRing:
    return read_ring(audit_directory(settings), signing_key(settings).public)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a version is to be held against the one that is live."""

    margins: ModelMargins
    waived: Mapping[str, str]
    seed: int
    timed_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseEvidence:
    """Makes the documents of one installation, and gathers what speaks for and against a promotion."""

    settings: Settings
    registry: Registry
    constitution: LockedConstitution
    serving: ServingStore
    deployments: DeploymentStore
    attempts: AttemptStore
    measuring: Measuring

    def stage(
        self, record: Record, rows: Sequence[HeldOutRow], limits: StagingLimits, *, actor: str, told: Told
    ) -> SignedDocument:
        """See `MLOpsManager.stage_model`."""
        rules = self._rules(record)
        rules.check_staging(limits, rows)
        draft = _Draft("staging", record.facts, rules, rows, actor)
        with self._counted(draft) as number:
            confidence = confidence_of(number)
            report = self.measuring.stage(record, rows, limits, confidence=confidence, told=told)
        if not report.measured:
            self._give_back(draft, number, "nothing was measured")
        body = report.model_dump(mode="json")
        return self._sign(draft, report.verdict, body, attempt=number if report.measured else None)

    def hold_against_live(
        self, record: Record, rows: Sequence[HeldOutRow], wanted: Comparison, *, actor: str
    ) -> SignedDocument:
        """See `MLOpsManager.check_contract`."""
        facts, rules = record.facts, self._rules(record)
        live = live_version(self.serving.latest(), facts.name)
        if live is None:
            raise InvalidInputError(
                f"no version of {facts.name} is live; a first version needs staging only", field="model"
            )
        staged = self._documents(record, "staging")
        staged_on = staged[0].document.data_digest if staged else None
        rules.check_contract(wanted.margins, wanted.waived, rows, staged_on=staged_on)
        before = self.registry.get(f"{facts.name}@{live}")
        draft = _Draft("contract", facts, rules, rows, actor, live)
        try:
            with self._counted(draft) as number:
                evidence = self.measuring.compare(
                    before, record, rows, seed=wanted.seed, timed_seconds=wanted.timed_seconds
                )
        except DiedError as error:
            return self._sign(draft, Verdict.INSUFFICIENT, {NOTHING_MEASURED: error.message}, attempt=None)
        budget = ErrorBudget(confidence_of(number))
        contract = model_contract(
            evidence, wanted.margins, waived=wanted.waived, waivable=rules.waivable, budget=budget
        )
        report = contract.judge(evidence, at=datetime.now(UTC))
        body = {"report": report.model_dump(mode="json"), "evidence": evidence.model_dump(mode="json")}
        return self._sign(draft, report.verdict, body, attempt=number)

    def case(self, record: Record, actor: str) -> Case:
        """Everything that is known for and against a promotion that `actor` asks for.

        Raises:
            PolicyUnusableError: nobody can tell what the release policy says.
        """
        facts = record.facts
        staging, contracts = self._documents(record, "staging"), self._documents(record, "contract")
        events = self.registry.events.events(name=facts.name, kinds=TELLING)
        back = taken_back(self.deployments.of_model(facts.name), facts.version)
        return Case(
            facts=facts,
            baseline=live_version(self.serving.latest(), facts.name),
            constitution_digest=self.constitution.digest,
            rules=self._rules(record),
            requested_by=actor,
            staging=staging,
            contracts=contracts,
            approvals=approvals_from(events),
            events=[event.entry() for event in events],
            taken_back_at=None if back is None else back.updated_at,
        )

    def trust(self, model: str) -> Trust:
        """The keys that count for what was signed of a model.

        Raises:
            IntegrityError: the list of retired keys, or the audit log, does not hold.
        """
        ring = _ring(self.settings)
        if not ring.retired:
            return Trust(ring)
        events = self.registry.events.events(name=model, kinds=TELLING)
        return Trust(ring, places_of((e.kind, e.details, self.registry.place(e)) for e in events))

    def _rules(self, record: Record) -> ModelRules:
        return installed_policy(self.settings, self.registry).policy.rules_for(record.facts.name)

    def _documents(self, record: Record, kind: DocumentKind) -> list[SignedDocument]:
        return self.deployments.documents(record.facts.name, record.facts.version, kind)

    @contextmanager
    def _counted(self, draft: _Draft) -> Iterator[int]:
        """The number of an attempt, taken while it is measured; a fault in there says nothing of how good it is."""
        with self.measuring.turn():
            most, since = draft.rules.most_attempts, self._beside_since(draft)
            number = self.attempts.begin(draft.attempt, most=most, beside_since=since)
            try:
                yield number
            except BaseException as error:
                self._give_back(draft, number, error.message if isinstance(error, AcgsError) else type(error).__name__)
                raise

    def _beside_since(self, draft: _Draft) -> str | None:
        """From when on attempts at other files of the model count too; None: never."""
        if draft.rules.attempts_of == "files":
            return None
        since, seen = "", set[str]()
        for deployment in reversed(self.deployments.of_model(draft.facts.name)):
            if deployment.kind is DeploymentKind.PROMOTION and deployment.status is DeploymentStatus.DEPLOYED:
                files = self.registry.get(f"{deployment.model}@{deployment.version}").facts.artifact_digest
                # What was live before goes out again on its old documents: no new try was judged for it.
                since = since if files in seen else deployment.created_at
                seen.add(files)
        return since

    def _give_back(self, draft: _Draft, number: int, reason: str) -> None:
        self.attempts.give_back(draft.attempt, number, reason=reason[:_LONGEST_REASON])

    def _sign(self, draft: _Draft, verdict: Verdict, body: Any, *, attempt: int | None) -> SignedDocument:
        facts, actor = draft.facts, draft.actor
        document = Document(
            kind=draft.kind,
            model=facts.name,
            version=facts.version,
            facts_digest=facts.digest(),
            constitution_digest=self.constitution.digest,
            policy_digest=draft.rules.digest(),
            data_digest=rows_digest(distinct_rows(draft.rows)),
            attempt=attempt,
            confidence=None if attempt is None else confidence_of(attempt),
            baseline=draft.baseline,
            verdict=verdict.value,
            body=body,
            made_by=actor,
            made_at=utc_instant(),
        )
        signed = sign_document(document, signing_key(self.settings))
        told = {"verdict": verdict.value, "baseline": draft.baseline, "attempt": attempt}
        details = {"document": document.digest(), **told}
        event = LifecycleEvent(TOLD_AS[draft.kind], actor, facts.name, facts.version, dict(details))
        self.deployments.add_document(signed, event)
        self.registry.carry_over()
        return signed


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a document says before anything was measured."""

    kind: DocumentKind
    facts: VersionFacts
    rules: ModelRules
    rows: Sequence[HeldOutRow]
    actor: str
    baseline: str | None = None

    @property
    def attempt(self) -> Attempt:
        facts = self.facts
        return Attempt(self.kind, facts.name, facts.version, facts.artifact_digest, self.actor)
