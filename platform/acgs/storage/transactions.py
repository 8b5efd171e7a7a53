"""Transactions: readers see one snapshot, writers of one subject stand in a queue, faults become one error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from acgs.errors import UnavailableError
from acgs.storage.engine import IMMEDIATE, place


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database throughout.

    Raises:
        UnavailableError: the database cannot be read.
    """
    snapshot = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with _faults_named(engine), engine.connect() as opened:
        connection = opened.execution_options(**snapshot)
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine, subject: str) -> Iterator[Connection]:
    """A transaction that no other writer of `subject` overlaps. What it read is still true when it commits.

    When the block ends the change is on disk; when it raises, nothing of it is.

    Raises:
        UnavailableError: the database cannot be written. After a failed commit the change may be there or not.
    """
    with _faults_named(engine), engine.connect() as opened:
        connection = opened.execution_options(**{IMMEDIATE: True})
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key(subject)})
            yield connection


def _lock_key(subject: str) -> int:
    """A signed 64-bit name for the server's advisory lock."""
    return int.from_bytes(hashlib.sha256(f"acgs:{subject}".encode()).digest()[:8], signed=True)


@contextmanager
def _faults_named(engine: Engine) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The driver's own words may repeat the connection string.
        cause = type(getattr(error, "orig", None) or error).__name__
        raise UnavailableError(
            f"the database {place(engine.url)} cannot be used ({cause}); check that it is up, writable and not full"
        ) from None
