"""The manager: everything that is done to versions, over the parts that the settings name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.key_ring import read_ring
from acgs.audit.layout import DEFAULT_ORIGIN
from acgs.audit.notes import VerifierKey
from acgs.audit.receipts import utc_instant
from acgs.audit.sequencer import sequence
from acgs.audit.trust import publish_key
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import load_locked
from acgs.errors import AcgsError, InvalidInputError, UnavailableError
from acgs.governance.assembly import open_governor
from acgs.governance.decision import Governor
from acgs.mlops.audit_proofs import EventProver
from acgs.mlops.describing import with_code
from acgs.mlops.evidence import Comparison, ReleaseEvidence, installed_policy
from acgs.mlops.measuring import Measuring, MeasuringHere
from acgs.mlops.traffic_figures import traffic_figures
from acgs.registry.artifacts.transfer import ProgressCallback
from acgs.registry.catalogue import Record
from acgs.registry.describing import describe, kind_of, require_kind
from acgs.registry.git import Repository
from acgs.registry.opening import open_registry
from acgs.registry.registry import Registry, Wanted
from acgs.registry.semver import VersionPolicy
from acgs.release.approvals import record_approval
from acgs.release.controller import ReleaseController
from acgs.release.history import ReleaseHistory, assemble
from acgs.release.model_contract import ModelMargins
from acgs.release.model_evidence import TIMED_SECONDS
from acgs.release.policy import ReleasePolicy
from acgs.release.policy_in_force import PolicyInForce, adopt
from acgs.release.promotion import Target, begin, go_back, live_version
from acgs.release.requirements import Case, Grounds, NotReleasableError, judge
from acgs.release.staging.held_out import HeldOutRow, read_held_out
from acgs.release.staging.limits import StagingLimits
from acgs.security.callers import current_caller
from acgs.security.roles import Caller, ForbiddenError, Permission
from acgs.serving.deployments.documents import SignedDocument
from acgs.serving.deployments.record import Approval, Deployment, DeploymentKind, RampPlan, Stage
from acgs.serving.deployments.sql_attempts import SqlAttemptStore
from acgs.serving.deployments.sql_store import SqlDeploymentStore
from acgs.serving.history import live_spans
from acgs.serving.replicas import LOST_AFTER_SECONDS, routers_on
from acgs.serving.sql_store import SqlServingStore
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from acgs.storage.migrate import upgrade

POLL_SECONDS: Final = 0.2
_DASHBOARD_SPAN: Final = timedelta(hours=1)


class MLOpsManager:
    """Everything that is done to versions, over the installation that the settings name.

    What changes state needs the caller's permission, and is on record under the caller's name. What only reads is open
    to whoever can open the installation; over HTTP the routes ask for `model_read`.
    """

    def __init__(
        self, settings: Settings | None = None, *, caller: Caller | None = None, measuring: Measuring | None = None
    ) -> None:
        """
        Args:
            settings: default: from the environment.
            caller: who acts; default: see `acgs.security.callers`, asked for at every change.
            measuring: who loads versions for staging and contract; default: this process.

        Raises:
            AcgsError: the database cannot be used.
        """
        self.settings = settings or Settings()
        self._caller = caller
        self._measuring = measuring or MeasuringHere(lambda: self.registry, lambda: self._governor)
        engine = open_engine(configured_url(self.settings))
        upgrade(engine)
        self.serving = SqlServingStore(engine)
        self.deployments = SqlDeploymentStore(engine)
        self._attempts = SqlAttemptStore(engine)
        self.controller = ReleaseController(self.deployments, self.serving)

    def act(self, permission: Permission) -> str:
        """Who acts, for the record.

        Raises:
            ForbiddenError: the caller may not do it.
            AuthenticationError: a token is needed, and there is none that holds.
        """
        caller = self._caller or current_caller(self.settings)
        caller.require(permission)
        return caller.subject

    def acting_as(self, caller: Caller) -> MLOpsManager:
        """This manager for another caller; both share everything that is open."""
        other = copy(self)
        other._caller = caller
        return other

    @cached_property
    def registry(self) -> Registry:
        """The registry; opened when it is needed, because a rollback needs no artifact store."""
        return open_registry(self.settings)

    @cached_property
    def constitution(self) -> LockedConstitution:
        """The constitution in force."""
        return load_locked(self.settings.constitution_path)

    def create_model_version(
        self,
        model_name: str,
        source: Path,
        *,
        version: str | None = None,
        version_policy: VersionPolicy | str = VersionPolicy.MINOR,
        performance_metrics: Mapping[str, float] | None = None,
        repository: Path | None = None,
        allow_dirty: bool = False,
        progress: ProgressCallback | None = None,
        **description: Any,
    ) -> dict[str, Any]:
        """Name, store and sign a model folder.

        Args:
            repository: a folder under version control, whose commit is recorded.
            description: more of `acgs.registry.model_version.Description`: kind, parent, base, data, privacy, ...

        Returns:
            The version, with the published field names.

        Raises:
            ForbiddenError: the caller may not do it.
            AcgsError: see `Registry.create`.
        """
        actor = self.act(Permission.MODEL_CREATE)
        fields = {"kind": kind_of(source), "metrics": dict(performance_metrics or {}), **description}
        require_kind(source, fields["kind"])
        code = None if repository is None else Repository(repository)
        record = self.registry.create(
            model_name,
            source,
            with_code(source, describe(fields), code, allow_dirty=allow_dirty),
            actor=actor,
            constitution=self.constitution,
            wanted=Wanted(version, VersionPolicy(version_policy)),
            progress=progress,
        )
        return self.published(record)

    def stage_model(
        self,
        model_name: str,
        version: str,
        *,
        data: Path | Sequence[HeldOutRow],
        limits: StagingLimits | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> SignedDocument:
        """Load a version as a slot would, ask it for held-out rows, and sign what was found.

        Args:
            data: held-out rows, or a file of them (`acgs.release.staging.held_out`).

        Raises:
            ForbiddenError: the caller may not do it.
            InvalidInputError: the rows or the limits cannot be used, or are looser than the release policy.
            AttemptsSpentError: its files were staged as often as the policy allows.
            AcgsError: the version cannot be had from the registry, or the policy cannot be used.
        """
        actor = self.act(Permission.MODEL_RELEASE)
        record = self.registry.get(f"{model_name}@{version}")
        return self._evidence.stage(record, _rows(data), limits or StagingLimits(), actor=actor, told=told)

    def check_contract(
        self,
        model_name: str,
        version: str,
        *,
        data: Path | Sequence[HeldOutRow],
        margins: ModelMargins | None = None,
        waived: Mapping[str, str] | None = None,
        seed: int = 0,
        timed_seconds: float = TIMED_SECONDS,
    ) -> SignedDocument:
        """Hold a version against the one that is live, on the same held-out rows, and sign the contract's report.

        Raises:
            ForbiddenError: the caller may not do it.
            InvalidInputError: nothing is live yet, the rows cannot be used, or more is asked than the release policy
                allows.
            AttemptsSpentError: its files were held against others as often as the policy allows.
            AcgsError: a version cannot be had, or does not load, or the policy cannot be used.
        """
        actor = self.act(Permission.MODEL_RELEASE)
        record, rows = self.registry.get(f"{model_name}@{version}"), _rows(data)
        wanted = Comparison(margins or ModelMargins(), dict(waived or {}), seed, timed_seconds)
        return self._evidence.hold_against_live(record, rows, wanted, actor=actor)

    def deploy_model(
        self,
        model_name: str,
        version: str,
        *,
        plan: RampPlan | None = None,
        end_watch: bool = False,
        reason: str = "",
        wait: bool = True,
        told: Callable[[Deployment], None] | None = None,
    ) -> Deployment:
        """Promote a version that was staged, and held against what is live; by steps, or at once with steps (100,).

        Args:
            end_watch: the version before is still watched, and need not be any more.
            reason: why, for the record; a version that was taken back needs one.
            wait: until it answers everything, or was taken back.
            told: called with every new state while waiting.

        Raises:
            ForbiddenError: the caller may not do it.
            InvalidInputError: the plan is looser than the release policy allows.
            NotReleasableError: what a promotion must show is missing, was made under another release policy, or does
                not say PASS; or the version was taken back, and no reason is given.
            PolicyUnusableError: nobody can tell what the release policy says.
            DeploymentBusyError: another deployment of the model is under way.
        """
        actor = self.act(Permission.MODEL_RELEASE)
        record = self.registry.get(f"{model_name}@{version}")
        if record.removed_at is not None:
            raise InvalidInputError(f"the files of {record.facts.reference} were removed", field="version")
        plan, case = plan or RampPlan(), self._evidence.case(record, actor)
        target = Target(model_name, record.facts.version, self._grounds(case, plan))
        started = begin(
            self.deployments,
            self.serving,
            target,
            plan,
            against=case.baseline,
            actor=actor,
            end_watch=end_watch,
            reason=reason,
        )
        self._look_again(record, started)
        self.registry.carry_over()
        return self.follow(started, told) if wait else started

    def _grounds(self, case: Case, plan: RampPlan) -> Grounds:
        case.rules.check_ramp(plan)
        return judge(case, self._evidence.trust(case.facts.name))

    def _look_again(self, record: Record, started: Deployment) -> None:
        """Take a promotion back whose grounds changed while they were judged: by a new policy, or a new document.

        What changes after this is later than the beginning.
        """
        try:
            case = self._evidence.case(record, started.requested_by)
            self._grounds(replace(case, baseline=started.baseline), started.plan)
        except Exception as error:
            changed = isinstance(error, (NotReleasableError, InvalidInputError))
            what = "changed while it began" if changed else "could not be looked at again"
            why = error.message if isinstance(error, AcgsError) else type(error).__name__
            reason = f"its grounds {what}: {why}"
            # Whoever took it back in the meantime did so once.
            model, version, actor = started.model, started.version, started.requested_by
            with suppress(AcgsError):
                go_back(self.deployments, self.serving, model, actor=actor, reason=reason, only=version)
                self.registry.carry_over()
            raise

    def rollback_model(self, model_name: str, *, reason: str, wait: bool = True) -> Deployment:
        """Bring the version before back; needs the database only, no control plane.

        Raises:
            ForbiddenError: the caller may not do it.
            NothingToGoBackToError: there is none.
        """
        actor = self.act(Permission.MODEL_RELEASE)
        going = go_back(self.deployments, self.serving, model_name, actor=actor, reason=reason)
        self.registry.carry_over()
        return self.follow(going) if wait else going

    def approve(self, document: str, *, reason: str) -> int:
        """Consent to a promotion in spite of a document that does not say PASS.

        Returns:
            How many people have consented now. Whoever promotes does not count as one of them.

        Raises:
            ForbiddenError: the caller may not do it, or no token says who it is.
            UnknownDeploymentError: there is no such document.
            InvalidInputError: it says PASS, or no reason is given.
            AlreadyApprovedError: the caller did before.
        """
        actor = self.act(Permission.MODEL_APPROVE)
        token_id = (self._caller or current_caller(self.settings)).token_id
        if token_id is None:
            raise ForbiddenError("who approves must be proven; use a token of 'acgs token issue'")
        found = self.deployments.document(document).document
        if found.verdict == "PASS":
            raise InvalidInputError(
                f"the {found.kind} document says PASS; nothing is to be overridden", field="document"
            )
        if not reason.strip():
            raise InvalidInputError("say why; it stands in the record", field="reason")
        given = Approval(actor=actor, document=document, reason=reason, at=utc_instant(), token_id=token_id)
        trust = self._evidence.trust(found.model)
        approvals = record_approval(self.registry.events, found, given, signing_key(self.settings), trust)
        self.registry.carry_over()
        return approvals

    def release_policy(self) -> PolicyInForce:
        """The release policy in force, as its owner set it.

        Raises:
            PolicyUnusableError: nobody can tell what it says.
        """
        return installed_policy(self.settings, self.registry)

    def adopt_release_policy(self, policy: ReleasePolicy) -> PolicyInForce:
        """Put a policy in force for whoever uses this installation, whatever their settings name.

        Raises:
            ForbiddenError: the caller may not do it.
            InvalidInputError: it is too long for the audit log.
        """
        actor, key = self.act(Permission.RELEASE_RULE), signing_key(self.settings)
        adopted = adopt(self.registry.events, policy, key, actor=actor)
        self._sequence()
        return adopted

    def hold(self, model_name: str, version: str, *, reason: str) -> None:
        """Put a version under legal hold: its files stay whatever its age."""
        self.registry.hold(f"{model_name}@{version}", reason, actor=self.act(Permission.MODEL_RELEASE))

    def lift_hold(self, model_name: str, version: str) -> None:
        """Lift the hold."""
        self.registry.lift_hold(f"{model_name}@{version}", actor=self.act(Permission.MODEL_RELEASE))

    def follow(self, deployment: Deployment, told: Callable[[Deployment], None] | None = None) -> Deployment:
        """Wait until a deployment answers everything or is over; moves it on meanwhile."""
        shown = deployment.revision
        while deployment.stage not in (Stage.WATCHING, Stage.OVER):
            self.controller.tick()
            deployment = self.deployments.get(deployment.deployment_id)
            if told is not None and deployment.revision != shown:
                told(deployment)
            shown = deployment.revision
            if deployment.stage not in (Stage.WATCHING, Stage.OVER):
                time.sleep(POLL_SECONDS)
        self.registry.carry_over()
        return deployment

    def routers_follow(self, *, timeout: float) -> bool:
        """Wait until every live router works by the table in force; False if that takes longer, or there is none."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            live = self.serving.replicas(alive_since=time.time() - LOST_AFTER_SECONDS)
            if routers_on(live, self.serving.epoch()):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def get_model_status(self, model_name: str) -> dict[str, Any]:
        """Slots, live version, deployment under way, replicas and the traffic of the last minute."""
        table = self.serving.latest()
        now = time.time()
        replicas = self.serving.replicas(alive_since=now - LOST_AFTER_SECONDS)
        latest = self.deployments.of_model(model_name, limit=1)
        route = table.models.get(model_name)
        if route is None and not latest and not self.registry.find(model_name, limit=1):
            self.registry.get(model_name)
        return {
            "model_name": model_name,
            "epoch": table.epoch,
            "live": live_version(table, model_name),
            "route": None if route is None else route.model_dump(mode="json"),
            "deployment": latest[0].model_dump(mode="json") if latest else None,
            "replicas": [
                {
                    "replica_id": replica.replica_id,
                    "deployment": replica.deployment,
                    "epoch": replica.epoch,
                    "versions": [h.model_dump() for h in replica.versions if h.model == model_name],
                }
                for replica in replicas
            ],
            "traffic": traffic_figures(self.serving.windows(model_name, since=now - 60.0)),
        }

    def get_mlops_dashboard(self) -> dict[str, Any]:
        """All models at a glance; every figure is counted, none is assumed, and what was not measured is null."""
        since = (datetime.now(UTC) - _DASHBOARD_SPAN).timestamp()
        versions = self.registry.find()
        history = self.deployments.of_model(limit=1000)
        ended = [d for d in history if d.kind is DeploymentKind.PROMOTION and not d.active]
        taken_back = {(d.model, d.baseline) for d in history if d.kind is DeploymentKind.ROLLBACK}
        good = sum(d.status == "deployed" and (d.model, d.version) not in taken_back for d in ended)
        table = self.serving.latest()
        return {
            "constitutional_hash": self.constitution.label,
            "constitution_digest": self.constitution.digest,
            "server_timestamp": utc_instant(),
            "epoch": table.epoch,
            "models": {
                name: {
                    "live": live_version(table, name),
                    "traffic": traffic_figures(self.serving.windows(name, since=since)),
                }
                for name in sorted({line.name for line in versions} | set(table.models))
            },
            "model_versions": len(versions),
            "artifact_bytes": sum(line.artifact_bytes for line in versions if line.removed_at is None),
            "deployments_under_way": [d.deployment_id for d in history if d.active],
            "deployment_success_rate": good / len(ended) if ended else None,
        }

    def history(self, model_name: str) -> ReleaseHistory:
        """What was live when, on whose approval, with which evidence; every event with its proof from the audit log.

        Raises:
            AcgsError: the audit log does not hold.
        """
        self._sequence()
        audit, key = audit_directory(self.settings), signing_key(self.settings)
        publish_key(audit, VerifierKey(DEFAULT_ORIGIN, key.public))
        deployments = self.deployments.of_model(model_name)
        digests = {link.digest for deployment in deployments for link in deployment.evidence}
        events = self.registry.events.events(name=model_name)
        if not events:
            self.registry.get(model_name)
        with EventProver(audit.log) as prover:
            return assemble(
                model_name,
                self.serving.tables(),
                deployments,
                documents=[self.deployments.document(digest) for digest in sorted(digests)],
                events=events,
                prove=prover.prove,
                made_at=utc_instant(),
                key=key,
                retired_keys=read_ring(audit, key.public).retired,
            )

    def _sequence(self) -> None:
        """Take all events into the audit log, unless the platform's own sequencer is at work on it."""
        self.registry.carry_over()
        with suppress(UnavailableError):
            sequence(audit_directory(self.settings), signing_key(self.settings))

    def published(self, record: Record) -> dict[str, Any]:
        """A version with the published field names."""
        facts = record.facts
        table = self.serving.latest()
        spans = [s for s in live_spans(self.serving.tables(), facts.name) if s.version == facts.version]
        return {
            "version": facts.version,
            "model_id": facts.model_id,
            "model_name": facts.name,
            "performance_metrics": dict(facts.metrics),
            "git_commit_hash": facts.code.commit,
            "git_branch": facts.code.branch,
            "created_at": facts.created_at,
            "deployed_at": spans[0].begins.isoformat() if spans else None,
            "constitutional_hash": facts.constitutional_hash,
            "constitution_digest": facts.constitution_digest,
            "parent_version": facts.parent,
            "training_data_hash": {source.name: source.digest for source in facts.data},
            "dependencies": dict(facts.dependencies),
            "artifact_digest": facts.artifact_digest,
            "is_active": record.removed_at is None,
            "is_production": live_version(table, facts.name) == facts.version,
            "metadata": dict(facts.metadata),
        }

    @cached_property
    def _governor(self) -> Governor:
        return open_governor(self.settings, constitution=self.constitution)

    @property
    def _evidence(self) -> ReleaseEvidence:
        return ReleaseEvidence(
            settings=self.settings,
            registry=self.registry,
            constitution=self.constitution,
            serving=self.serving,
            deployments=self.deployments,
            attempts=self._attempts,
            measuring=self._measuring,
        )


def _rows(data: Path | Sequence[HeldOutRow]) -> Sequence[HeldOutRow]:
    return read_held_out(data) if isinstance(data, Path) else data
