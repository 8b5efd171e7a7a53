"""The training service without its HTTP: takes requests in, tells how they fare, keeps the scheduler going.

All methods may block; the routes call them in threads.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import structlog

from acgs import __version__
from acgs.audit.entries import Event
from acgs.audit.installation import audit_directory, signing_key
from acgs.audit.journal import Journal
from acgs.audit.recorder import AuditRecorder
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import load_locked
from acgs.errors import AcgsError, InvalidInputError, UnavailableError
from acgs.governance.scenarios.generator import generate
from acgs.learning.sessions.answer import (
    Cancellation,
    TrainingHealth,
    TrainingLogs,
    TrainingPage,
    TrainingResponse,
    TrainingStatus,
    status_answer,
)
from acgs.learning.sessions.progress import read_progress
from acgs.learning.sessions.request import PlannedRun, Policy, TrainingRequest, plan_run
from acgs.learning.sessions.results import read_results
from acgs.learning.sessions.runner import JobRunner
from acgs.learning.sessions.scheduler import Limits, Scheduler
from acgs.learning.sessions.session import HOLDING_A_PLACE, Session, Status
from acgs.learning.sessions.sql_store import SqlSessionStore
from acgs.learning.sessions.store import SessionStore, UnknownSessionError
from acgs.learning.sessions.workspace import SessionFiles
from acgs.observability.training_metrics import SessionFigures, TrainingMetrics
from acgs.security.admission import Admission, open_admission
from acgs.security.roles import Caller, Permission
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from acgs.storage.migrate import upgrade
from serve_apps.http import validated
from serve_apps.training_settings import TrainingSettings

SERVICE: Final = "constitutional-trainer"
TRAINING_FOLDER: Final = "training"
_CORPUS_TEXTS: Final = 2000
"""Generated, so public, texts that the tokenizer of a tiny model is trained on."""
_UNKNOWN_MODEL: Final = "unknown"


class SessionObserver:
    """Puts the ends of sessions on record and counts them."""

    def __init__(
        self, recorder: AuditRecorder, metrics: TrainingMetrics, constitution: LockedConstitution, root: Path
    ) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._severities = {principle.id: principle.severity.value for principle in constitution.document.principles}
        self._root = root

    def record_end(self, session: Session) -> None:
        """See `Observer.record_end`. The event's id is the session's own, so that a repetition can be told."""
        details: dict[str, Any] = {"model_name": session.model_name, "model_id": session.model_id}
        if session.progress is not None:
            details |= {"step": session.progress.step, "compliance": session.progress.compliance}
            details["epsilon"] = session.progress.epsilon
        self._recorder.record_event(
            Event(
                event_id=f"{session.id}.{session.status}",
                kind=f"constitutional_training_{session.status}",
                actor=SERVICE,
                subject=session.id,
                details=details,
            )
        )

    def ended(self, session: Session) -> None:
        """See `Observer.ended`."""
        start, end = session.started_at or session.created_at, session.ended_at or session.created_at
        self._metrics.ended(
            session.status,
            session.model_name,
            session.model_id,
            seconds=(end - start).total_seconds(),
            compliance=session.progress.compliance if session.progress else None,
        )
        results = read_results(SessionFiles(self._root, session.id).output)
        if results is not None:
            known = ((name, count) for name, count in results.breaches().items() if name in self._severities)
            breaches = {name: (count, self._severities[name]) for name, count in known}
            self._metrics.measured(session.model_id, breaches, results.perplexity)


@dataclass(slots=True)
class TrainingService:
    """Everything the routes answer with."""

    settings: TrainingSettings
    constitution: LockedConstitution
    admission: Admission
    metrics: TrainingMetrics
    recorder: AuditRecorder
    store: SessionStore
    scheduler: Scheduler
    runner: JobRunner
    root: Path
    issues: list[str]

    def files(self, session_id: str) -> SessionFiles:
        """Where a session's files are."""
        return SessionFiles(self.root, session_id)

    def train(self, body: Any, caller: Caller) -> TrainingResponse:
        """Take a session in.

        Raises:
            AcgsError: the request cannot be run, the queue is full, or a record could not be written.
        """
        model = _UNKNOWN_MODEL
        try:
            request = validated(TrainingRequest, body)
            files = self.files(str(uuid4()))
            planned = plan_run(request, self._policy(), files)
            model = request.model_name
            session = self._take_in(request, planned, files, caller)
        except AcgsError as error:
            self.metrics.requested(model, error.code)
            raise
        self.metrics.requested(model, "accepted")
        return TrainingResponse(
            training_id=session.id, status=session.status, message="the session starts as soon as it has a place"
        )

    def status(self, session_id: str, caller: Caller) -> TrainingStatus:
        """How one session fares. Raises `UnknownSessionError` also for one that the caller may not see."""
        return self._answer(self._visible(session_id, caller))

    def page(self, caller: Caller, *, before: int | None, limit: int) -> TrainingPage:
        """The caller's sessions, or everybody's for who may see them."""
        subject = None if caller.may(Permission.TRAINING_READ_ALL) else caller.subject
        sessions = self.store.page(subject=subject, before=before, limit=limit)
        return TrainingPage(
            sessions=[self._answer(session) for session in sessions],
            next=sessions[-1].number if len(sessions) == limit else None,
        )

    def logs(self, session_id: str, caller: Caller, lines: int) -> TrainingLogs:
        """The last lines of a session's job; none before it was submitted."""
        session = self._visible(session_id, caller)
        text = self.runner.logs(session.id, lines) if session.submitted else ""
        return TrainingLogs(training_id=session.id, lines=text.splitlines()[-lines:])

    def cancel(self, session_id: str, caller: Caller) -> Cancellation:
        """Cancel a session of the caller's; an administrator cancels anybody's."""
        session = self._visible(session_id, caller)
        if session.subject != caller.subject:
            caller.require(Permission.TRAINING_CANCEL_ALL)
        cancelled = self.scheduler.cancel(session.id)
        self._record("constitutional_training_cancel_requested", caller.subject, session.id, {})
        return Cancellation(message=f"the session is {cancelled.status}", training_id=session.id)

    def tick(self) -> None:
        """Move sessions on, and show where they stand. What fails is logged and tried again."""
        try:
            faults = self.scheduler.tick()
            running = self.store.having(*HOLDING_A_PLACE)
            queued = len(self.store.having(Status.QUEUED))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next tick must come
            known = error if isinstance(error, AcgsError) else UnavailableError(f"scheduler: {type(error).__name__}")
            faults, running, queued = [known], None, 0
        self.issues[:] = sorted({fault.message for fault in faults})
        for fault in faults:
            structlog.get_logger("training").error("scheduling failed", error_type=fault.code, reason=fault.message)
        self.metrics.healthy("scheduler", works=not faults)
        if running is not None:
            self.metrics.now([self._figures(session) for session in running], queued)

    def health(self) -> TrainingHealth:
        """How the service fares, as of its last tick."""
        return TrainingHealth(
            status="degraded" if self.issues else "healthy",
            service=SERVICE,
            version=__version__,
            constitutional_hash=self.constitution.label,
            constitution_digest=self.constitution.digest,
            timestamp=datetime.now(UTC).isoformat(),
            active_sessions=len(self.store.having(*HOLDING_A_PLACE)),
            queued_sessions=len(self.store.having(Status.QUEUED)),
            issues=list(self.issues),
        )

    def close(self) -> None:
        """Flush the journal."""
        self.recorder.close()

    def _take_in(self, request: TrainingRequest, planned: PlannedRun, files: SessionFiles, caller: Caller) -> Session:
        privacy = planned.config.privacy
        session = self.scheduler.admit(
            Session(
                id=files.session_id,
                subject=caller.subject,
                model_name=request.model_name,
                model_id=request.model_id,
                max_training_seconds=request.max_training_time,
                created_at=datetime.now(UTC),
                target_epsilon=privacy.target_epsilon if privacy else None,
                delta=privacy.delta if privacy else None,
            )
        )
        details = {
            "model_name": request.model_name,
            "model_id": request.model_id,
            "rows": len(request.training_data),
            "target_epsilon": session.target_epsilon,
            "delta": session.delta,
            "constitution_digest": self.constitution.digest,
        }
        try:
            self._record("constitutional_training_requested", caller.subject, session.id, details)
            scenarios = generate(self.constitution.document, _CORPUS_TEXTS, seed=0)
            files.write(planned.config, planned.train, planned.validation, (item.query for item in scenarios))
            return self.scheduler.ready(session.id)
        except (AcgsError, OSError) as error:
            self.scheduler.abandon(session.id, "its data could not be stored")
            if isinstance(error, OSError):
                raise UnavailableError("the training data could not be stored; check the disk") from error
            raise

    def _visible(self, session_id: str, caller: Caller) -> Session:
        session = self.store.get(session_id)
        if session.subject != caller.subject and not caller.may(Permission.TRAINING_READ_ALL):
            # That somebody else has such a session is nobody's business.
            raise UnknownSessionError
        return session

    def _answer(self, session: Session) -> TrainingStatus:
        output = self.files(session.id).output
        live = read_progress(output) if session.status in HOLDING_A_PLACE else None
        return status_answer(session, live, str(output))

    def _figures(self, session: Session) -> SessionFigures:
        progress = read_progress(self.files(session.id).output)
        return SessionFigures(
            session_id=session.id,
            model_id=session.model_id,
            compliance=progress.compliance if progress else None,
            epsilon=progress.epsilon if progress else None,
            target_epsilon=session.target_epsilon,
        )

    def _policy(self) -> Policy:
        return Policy(
            bases=self.settings.base_models,
            label=self.constitution.label,
            digest=self.constitution.digest,
            compliance_threshold=self.settings.compliance_threshold,
            private_by_default=self.settings.enable_differential_privacy,
            max_epsilon=self.settings.privacy_epsilon,
            max_delta=self.settings.privacy_delta,
            max_training_seconds=self.settings.max_training_seconds,
        )

    def _record(self, kind: str, actor: str, subject: str, details: dict[str, Any]) -> None:
        self.recorder.record_event(Event(kind=kind, actor=actor, subject=subject, details=details))


def training_root(settings: Settings, training: TrainingSettings) -> Path:
    """The folder of all sessions."""
    return (training.training_dir or settings.state_dir / TRAINING_FOLDER).resolve()


def open_service(settings: Settings, training: TrainingSettings, runner: JobRunner) -> TrainingService:
    """Open everything, or raise the error that says what is missing."""
    root = training_root(settings, training)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"ACGS_TRAINING_DIR cannot be used: {error.strerror}", field="training_dir") from error
    engine = open_engine(configured_url(settings))
    upgrade(engine)
    constitution = load_locked(settings.constitution_path)
    identity = f"trainer-{os.getpid()}-{secrets.token_hex(4)}"
    journal = Journal(audit_directory(settings).journals, identity, durability=settings.audit_durability)
    recorder = AuditRecorder(journal, signing_key(settings), identity)
    metrics = TrainingMetrics(constitution.label, __version__)
    store = SqlSessionStore(engine)
    scheduler = Scheduler(
        store,
        runner,
        limits=Limits(training.max_concurrent_sessions, training.max_queued_sessions),
        output=lambda session_id: SessionFiles(root, session_id).output,
        observer=SessionObserver(recorder, metrics, constitution, root),
    )
    admission = open_admission(settings)
    return TrainingService(
        training, constitution, admission, metrics, recorder, store, scheduler, runner, root, issues=[]
    )
