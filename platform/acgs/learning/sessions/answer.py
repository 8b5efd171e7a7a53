"""What the training service answers: names as in the published HTTP contract."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from acgs.learning.sessions.progress import Progress
from acgs.learning.sessions.session import Session, Status


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class TrainingResponse(_Answer):
    """A session that was taken in."""

    training_id: str
    status: Status
    message: str
    constitutional_compliance_score: float | None = None
    model_artifacts: dict[str, str] | None = None
    training_metrics: dict[str, int | float | None] | None = None
    privacy_metrics: dict[str, int | float | None] | None = None


class TrainingStatus(_Answer):
    """How a session fares. None means not measured, or not yet known."""

    training_id: str
    status: Status
    progress: float
    constitutional_compliance_score: float | None
    current_phase: str
    estimated_completion: str | None
    error_message: str | None
    model_name: str
    model_id: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    model_artifacts: dict[str, str] | None
    training_metrics: dict[str, int | float | None] | None
    privacy_metrics: dict[str, int | float | None] | None


class TrainingPage(_Answer):
    """Sessions, latest first; `next` goes into `before` for the page after this one, None at the end."""

    sessions: list[TrainingStatus]
    next: int | None


class TrainingLogs(_Answer):
    """The last lines that a session's job wrote."""

    training_id: str
    lines: list[str]


class Cancellation(_Answer):
    """What became of a wish to cancel."""

    message: str
    training_id: str


class TrainingHealth(_Answer):
    """How the service itself fares."""

    status: str
    service: str
    version: str
    constitutional_hash: str
    constitution_digest: str
    timestamp: str
    active_sessions: int
    queued_sessions: int
    issues: list[str]


def status_answer(session: Session, live: Progress | None, output: str) -> TrainingStatus:
    """A session with what its job says now (`live`); an ended one keeps what its job said last.

    `output` is where the results of a completed session are.
    """
    progress = session.progress if session.has_ended else live
    return TrainingStatus(
        training_id=session.id,
        status=session.status,
        progress=1.0 if session.status is Status.COMPLETED else (progress.progress if progress else 0.0),
        constitutional_compliance_score=progress.compliance if progress else None,
        current_phase=_phase(session, progress),
        estimated_completion=_estimate(session, progress),
        error_message=session.error_message,
        model_name=session.model_name,
        model_id=session.model_id,
        created_at=session.created_at.isoformat(),
        started_at=session.started_at and session.started_at.isoformat(),
        ended_at=session.ended_at and session.ended_at.isoformat(),
        model_artifacts={"output": output} if session.status is Status.COMPLETED else None,
        training_metrics=_training_metrics(progress),
        privacy_metrics=_privacy_metrics(session, progress),
    )


def _phase(session: Session, progress: Progress | None) -> str:
    if session.status is Status.FAILED:
        return "error"
    if session.has_ended:
        return "finished"
    return progress.phase if progress else "initialization"


def _estimate(session: Session, progress: Progress | None) -> str | None:
    if session.status is not Status.RUNNING or session.started_at is None or progress is None:
        return None
    if progress.eta_seconds is None or progress.updated_at is None:
        return None
    return (progress.updated_at + timedelta(seconds=min(progress.eta_seconds, 1e8))).isoformat()


def _training_metrics(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {
        "training_loss": progress.loss,
        "tokens_per_second": progress.tokens_per_second,
        "step": progress.step,
        "steps": progress.steps,
    }


def _privacy_metrics(session: Session, progress: Progress | None) -> dict[str, Any] | None:
    if session.target_epsilon is None:
        return None
    used = progress.epsilon if progress else None
    return {
        "privacy_epsilon_used": used,
        "privacy_delta": session.delta,
        "target_epsilon": session.target_epsilon,
        "privacy_budget_remaining": None if used is None else max(0.0, session.target_epsilon - used),
    }
