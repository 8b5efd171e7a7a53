"""The contract of leases, on every database."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from acgs.registry.leases import Purpose, StoreBusyError
from acgs.registry.sql_leases import SqlLeases


def test_many_may_add_at_a_time(leases: SqlLeases) -> None:
    with leases.take(Purpose.ADD, "one"), leases.take(Purpose.ADD, "two"):
        pass


@pytest.mark.parametrize(
    ("first", "second"),
    [(Purpose.ADD, Purpose.COLLECT), (Purpose.COLLECT, Purpose.ADD), (Purpose.COLLECT, Purpose.COLLECT)],
)
def test_nobody_collects_while_another_is_at_work(leases: SqlLeases, first: Purpose, second: Purpose) -> None:
    busy = pytest.raises(StoreBusyError, match="host-a:1")
    with leases.take(first, "host-a:1"), busy, leases.take(second, "host-b:2"):
        pass
    with leases.take(second, "host-b:2"):
        pass


def test_what_a_dead_process_held_runs_out(leases: SqlLeases, engine: Engine) -> None:
    with leases.take(Purpose.COLLECT, "dead"):
        with engine.begin() as connection:
            connection.execute(text("UPDATE artifact_leases SET expires_at = '2000-01-01T00:00:00.000000Z'"))
        with leases.take(Purpose.ADD, "next"):
            pass


def test_a_lease_that_ran_out_cannot_be_renewed(
    leases: SqlLeases, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acgs.registry.sql_leases._RENEW_SECONDS", 0.0)
    with leases.take(Purpose.ADD, "slow") as lease:
        lease.renew()
        with engine.begin() as connection:
            connection.execute(text("UPDATE artifact_leases SET expires_at = '2000-01-01T00:00:00.000000Z'"))
        with pytest.raises(StoreBusyError):
            lease.renew()
