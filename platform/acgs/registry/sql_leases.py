"""Leases on the artifact store in the platform's database, shared by any number of processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, Engine, delete, insert, select, update

from acgs.audit.receipts import utc_instant
from acgs.errors import UnavailableError
from acgs.registry.leases import Lease, Purpose, StoreBusyError
from acgs.registry.sql_lifecycle import SUBJECT
from acgs.registry.tables import LEASE_TABLE
from acgs.storage.transactions import writing

LIFETIME: Final = timedelta(minutes=10)
_RENEW_SECONDS: Final = 60.0
_LEASE = LEASE_TABLE.c


def require_lease(connection: Connection, lease_id: str) -> None:
    """Within a transaction: the lease is still held.

    Raises:
        StoreBusyError: it ran out.
    """
    held = select(_LEASE.lease_id).where(_LEASE.lease_id == lease_id, _LEASE.expires_at > utc_instant())
    if connection.execute(held).one_or_none() is None:
        raise StoreBusyError("this took so long between two steps that its files may be gone; run it again")


class SqlLeases:
    """`Leases` over an engine that `acgs.storage.migrate.upgrade` has prepared."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def take(self, purpose: Purpose, holder: str) -> Iterator[Lease]:
        """See `Leases.take`."""
        lease_id = str(uuid4())
        with writing(self._engine, SUBJECT) as connection:
            connection.execute(delete(LEASE_TABLE).where(_LEASE.expires_at <= utc_instant()))
            query = select(_LEASE.purpose, _LEASE.holder)
            if purpose is Purpose.ADD:
                query = query.where(_LEASE.purpose == Purpose.COLLECT)
            other = connection.execute(query.limit(1)).one_or_none()
            if other is not None:
                doing = "collects files that nobody needs" if other.purpose == Purpose.COLLECT else "adds files"
                minutes = LIFETIME.seconds // 60
                raise StoreBusyError(
                    f"{other.holder} {doing}; wait for it, or {minutes} minutes if it is dead, and run this again"
                )
            values = {"lease_id": lease_id, "purpose": purpose, "holder": holder, "expires_at": _expiry()}
            connection.execute(insert(LEASE_TABLE).values(values))
        try:
            yield _SqlLease(self._engine, lease_id)
        finally:
            self._give_back(lease_id)

    def _give_back(self, lease_id: str) -> None:
        try:
            with writing(self._engine, SUBJECT) as connection:
                connection.execute(delete(LEASE_TABLE).where(_LEASE.lease_id == lease_id))
        except UnavailableError:
            # It runs out by itself; what was done under it stands, and is what the caller wants to hear of.
            return


class _SqlLease:
    def __init__(self, engine: Engine, lease_id: str) -> None:
        self._engine = engine
        self.lease_id = lease_id
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """See `Lease.renew`."""
        if time.monotonic() - self._renewed < _RENEW_SECONDS:
            return
        with writing(self._engine, SUBJECT) as connection:
            require_lease(connection, self.lease_id)
            connection.execute(update(LEASE_TABLE).where(_LEASE.lease_id == self.lease_id).values(expires_at=_expiry()))
        self._renewed = time.monotonic()


def _expiry() -> str:
    return utc_instant(datetime.now(UTC) + LIFETIME)
