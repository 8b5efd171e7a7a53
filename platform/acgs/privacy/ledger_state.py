"""What the ledger's entries add up to. Pure: entries go in one by one, accounts come out.

An entry that the rules would not have let in (a reservation beyond the promise, a second settlement) is an
`IntegrityError`: somebody else wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from acgs.errors import IntegrityError
from acgs.privacy.ledger import Account, DataSet, Head, RunAccount, account_names
from acgs.privacy.ledger_entries import (
    ORIGIN,
    AttemptBegun,
    Body,
    Entry,
    Reserved,
    RunClosed,
    RunOpened,
    Settled,
    read,
)


@dataclass(slots=True)
class _Run:
    opened: RunOpened
    opened_at: str
    attempts: int = 0
    settled: int = 0
    unsettled: int = 0
    closed: bool = False

    def view(self) -> RunAccount:
        return RunAccount(
            run_id=self.opened.run_id,
            owner=self.opened.owner,
            opened_at=self.opened_at,
            datasets=tuple(DataSet(item.id, item.population) for item in self.opened.datasets),
            plan=self.opened.plan,
            attempts=self.attempts,
            settled=self.settled,
            unsettled=self.unsettled,
            closed=self.closed,
        )


@dataclass(slots=True)
class LedgerState:
    """The ledger up to `head`."""

    head: Head = ORIGIN
    _runs: dict[str, _Run] = field(default_factory=dict)
    _accounts: dict[str, list[str]] = field(default_factory=dict)
    _open_reservations: dict[str, Reserved] = field(default_factory=dict)

    def advance(self, entries: Iterable[Entry]) -> None:
        """Take in the entries that follow. Raises `IntegrityError` at the first that does not hold."""
        for entry in entries:
            self._apply(read(entry, self.head), entry)
            self.head = entry.head

    def run(self, run_id: str) -> RunAccount | None:
        """The run, or None."""
        found = self._runs.get(run_id)
        return found.view() if found else None

    def account(self, name: str) -> Account | None:
        """The account of this name, or None when no run was opened on it."""
        run_ids = self._accounts.get(name)
        if not run_ids:
            return None
        runs = tuple(self._runs[run_id].view() for run_id in run_ids)
        first = runs[0].plan
        return Account(name, first.target_epsilon, first.delta, first.unit, first.accountant, runs)

    def accounts(self) -> tuple[Account, ...]:
        """All accounts, by name."""
        return tuple(found for name in sorted(self._accounts) if (found := self.account(name)))

    def open_reservation(self, reservation_id: str) -> Reserved | None:
        """The reservation, unless it was settled or never made."""
        return self._open_reservations.get(reservation_id)

    def _apply(self, body: Body, entry: Entry) -> None:
        match body:
            case RunOpened():
                self._require(body.run_id not in self._runs, entry)
                run = _Run(body, entry.recorded_at)
                self._runs[body.run_id] = run
                for name in account_names(body.plan, run.view().datasets):
                    self._accounts.setdefault(name, []).append(body.run_id)
            case AttemptBegun():
                run = self._open_run(body.run_id, entry)
                self._require(body.attempt == run.attempts + 1, entry)
                run.attempts = body.attempt
            case Reserved():
                run = self._open_run(body.run_id, entry)
                plan = run.opened.plan
                self._require(body.attempt == run.attempts, entry)
                self._require(run.settled + run.unsettled + body.steps <= plan.steps, entry)
                self._require(
                    (body.noise_multiplier, body.sample_rate) == (plan.noise_multiplier, plan.sample_rate), entry
                )
                run.unsettled += body.steps
                self._open_reservations[body.reservation_id] = body
            case Settled():
                run = self._open_run(body.run_id, entry)
                reserved = self._open_reservations.pop(body.reservation_id, None)
                if reserved is None or reserved.attempt != run.attempts or body.steps_run > reserved.steps:
                    raise _intruder(entry)
                run.unsettled -= reserved.steps
                run.settled += body.steps_run
            case RunClosed():
                self._open_run(body.run_id, entry).closed = True

    def _open_run(self, run_id: str, entry: Entry) -> _Run:
        run = self._runs.get(run_id)
        if run is None or run.closed:
            raise _intruder(entry)
        return run

    @staticmethod
    def _require(holds: bool, entry: Entry) -> None:
        if not holds:
            raise _intruder(entry)


def _intruder(entry: Entry) -> IntegrityError:
    return IntegrityError(
        f"privacy ledger: entry {entry.sequence} breaks the ledger's rules, so ACGS did not write it; restore a backup"
    )
