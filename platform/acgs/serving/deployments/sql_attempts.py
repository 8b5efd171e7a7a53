"""Attempts in the platform's database; each is an event of its model, which the audit log gets."""

from __future__ import annotations

from itertools import count
from typing import Final

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Engine, and_, delete, insert, or_, select

from acgs.audit.receipts import utc_instant
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.sql_lifecycle import SUBJECT, append_event
from acgs.serving.deployments.attempts import Attempt, AttemptsSpentError
from acgs.serving.deployments.tables import ATTEMPT_TABLE
from acgs.storage.transactions import writing

BEGUN: Final = "release.attempt.begun"
GIVEN_BACK: Final = "release.attempt.given_back"
_ATTEMPT = ATTEMPT_TABLE.c


class SqlAttemptStore:
    """`AttemptStore` over an engine that `acgs.storage.migrate.upgrade` has prepared. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, attempt: Attempt, *, most: int, beside_since: str | None = None) -> int:
        """See `AttemptStore.begin`."""
        with writing(self._engine, SUBJECT) as connection:
            own = list(connection.execute(select(_ATTEMPT.number).where(_same(attempt))).scalars())
            if len(own) >= most:
                raise AttemptsSpentError(
                    f"the files of {attempt.model}@{attempt.version} had {len(own)} attempts at {attempt.kind}, and "
                    f"the release policy allows {most}; make a better version, or ask the policy's owner",
                    field="version",
                )
            paying = _same(attempt) if beside_since is None else or_(_same(attempt), _beside(attempt, beside_since))
            taken = set(connection.execute(select(_ATTEMPT.number).where(paying)).scalars())
            number = next(number for number in count(1) if number not in taken)
            values = {
                "kind": attempt.kind,
                "model": attempt.model,
                "artifact_digest": attempt.artifact_digest,
                "number": number,
                "version": attempt.version,
                "actor": attempt.actor,
                "begun_at": utc_instant(),
            }
            connection.execute(insert(ATTEMPT_TABLE).values(values))
            append_event(connection, _event(BEGUN, attempt, number))
        return number

    def give_back(self, attempt: Attempt, number: int, *, reason: str) -> None:
        """See `AttemptStore.give_back`."""
        with writing(self._engine, SUBJECT) as connection:
            connection.execute(delete(ATTEMPT_TABLE).where(_same(attempt), _ATTEMPT.number == number))
            append_event(connection, _event(GIVEN_BACK, attempt, number, reason=reason))


def _same(attempt: Attempt) -> ColumnElement[bool]:
    return and_(
        _ATTEMPT.model == attempt.model,
        _ATTEMPT.artifact_digest == attempt.artifact_digest,
        _ATTEMPT.kind == attempt.kind,
    )


def _beside(attempt: Attempt, since: str) -> ColumnElement[bool]:
    return and_(_ATTEMPT.model == attempt.model, _ATTEMPT.kind == attempt.kind, _ATTEMPT.begun_at >= since)


def _event(kind: str, attempt: Attempt, number: int, **more: str) -> LifecycleEvent:
    details: dict[str, JsonValue] = {"kind": attempt.kind, "attempt": number, **more}
    details["artifact_digest"] = attempt.artifact_digest
    return LifecycleEvent(kind, attempt.actor, attempt.model, attempt.version, details)
