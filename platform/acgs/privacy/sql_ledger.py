"""The ledger in a database, shared by any number of processes.

Writers of the ledger stand in one queue, so that what a writer checked is still true when it commits. The check that
needs an accountant is made when a run is opened, against all that is spent and promised, and outside that queue;
a reservation then only compares integers with the run's own promise.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, insert, select

from acgs.errors import IntegrityError, InvalidInputError
from acgs.privacy.accountants import History, Segment
from acgs.privacy.ledger import (
    Account,
    BudgetExceededError,
    DataSet,
    Head,
    Reservation,
    RunAccount,
    account_names,
    check_name,
    refuse_other_terms,
)
from acgs.privacy.ledger_entries import (
    ORIGIN,
    AttemptBegun,
    Body,
    Entry,
    NamedDataSet,
    Reserved,
    RunClosed,
    RunOpened,
    Settled,
    chain,
)
from acgs.privacy.ledger_state import LedgerState
from acgs.privacy.ledger_table import LEDGER_TABLE
from acgs.privacy.plan import PrivacyPlan
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from acgs.storage.transactions import reading, writing

_SUBJECT: Final = "privacy_ledger"

T = TypeVar("T")
Priors = dict[str, History]
"""By account, what other runs have spent and were promised."""


class SqlLedger:
    """`Ledger` over an engine whose database `acgs.storage.migrate.upgrade` has prepared.

    Threads may share an instance, forked processes not. An instance remembers the entries it has verified and reads the
    later ones; a fresh one verifies all of them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = LedgerState()
        self._lock = threading.Lock()

    def open_run(self, run_id: str, plan: PrivacyPlan, datasets: Sequence[DataSet], *, owner: str) -> RunAccount:
        """See `Ledger.open_run`."""
        check_name(run_id, "run_id")
        check_name(owner, "owner")
        if not datasets:
            raise InvalidInputError("name the data sets that the run reads", field="datasets")
        named = sorted({dataset.id: dataset for dataset in datasets}.items())
        body = RunOpened(
            run_id=run_id,
            owner=owner,
            datasets=[NamedDataSet(id=item.id, population=item.population) for _, item in named],
            plan=plan,
        )
        judged = self._read(lambda state: _priors(state, body))
        while judged is not None:
            # Composition takes seconds, and nobody waits for it: if the accounts changed meanwhile, it is done again.
            _refuse_overdraft(plan, judged)
            current = self._open_if_unchanged(body, judged)
            if current == judged:
                break
            judged = current
        return self.run(run_id)

    def begin_attempt(self, run_id: str) -> int:
        """See `Ledger.begin_attempt`."""

        def append(state: LedgerState) -> tuple[Body, int]:
            number = _open(state, run_id).attempts + 1
            return AttemptBegun(run_id=run_id, attempt=number), number

        return self._write(append)

    def reserve(self, run_id: str, attempt: int, steps: int, mechanism: Segment) -> Reservation:
        """See `Ledger.reserve`."""
        if steps < 1:
            raise InvalidInputError("reserve at least 1 step", field="steps")
        reservation = Reservation(secrets.token_hex(16), run_id, attempt, steps, secrets.token_hex(32))

        def append(state: LedgerState) -> tuple[Body, Reservation]:
            run = _open(state, run_id)
            _refuse_stale(run, attempt)
            plan = run.plan
            if (mechanism.noise_multiplier, mechanism.sample_rate) != (plan.noise_multiplier, plan.sample_rate):
                raise InvalidInputError(
                    f"run {run_id} was opened for noise {plan.noise_multiplier:g} at rate {plan.sample_rate:g}; "
                    "open a new run for another mechanism",
                    field="mechanism",
                )
            if steps > run.steps_left:
                raise BudgetExceededError(
                    f"run {run_id} has {run.steps_left} of its {plan.steps} steps left, {steps} were asked for"
                )
            return (
                Reserved(
                    run_id=run_id,
                    attempt=attempt,
                    reservation_id=reservation.id,
                    steps=steps,
                    noise_multiplier=plan.noise_multiplier,
                    sample_rate=plan.sample_rate,
                    release_digest=_key_digest(reservation.release_key),
                ),
                reservation,
            )

        return self._write(append)

    def settle(self, reservation: Reservation, steps_run: int) -> None:
        """See `Ledger.settle`."""

        def append(state: LedgerState) -> tuple[Body, None]:
            reserved = state.open_reservation(reservation.id)
            if reserved is None:
                raise InvalidInputError("this reservation was settled before, or never made", field="reservation")
            _refuse_stale(_open(state, reserved.run_id), reserved.attempt)
            if not hmac.compare_digest(reserved.release_digest, _key_digest(reservation.release_key)):
                raise InvalidInputError("only the process that reserved steps may settle them", field="reservation")
            if not 0 <= steps_run <= reserved.steps:
                raise InvalidInputError(
                    f"{reserved.steps} steps were reserved, {steps_run} cannot have run", field="steps_run"
                )
            return Settled(run_id=reserved.run_id, reservation_id=reservation.id, steps_run=steps_run), None

        self._write(append)

    def close_run(self, run_id: str) -> RunAccount:
        """See `Ledger.close_run`."""

        def append(state: LedgerState) -> tuple[Body | None, None]:
            return (None if _known(state, run_id).closed else RunClosed(run_id=run_id)), None

        self._write(append)
        return self.run(run_id)

    def run(self, run_id: str) -> RunAccount:
        """See `Ledger.run`."""
        return self._read(lambda state: _known(state, run_id))

    def account(self, name: str) -> Account | None:
        """See `Ledger.account`."""
        return self._read(lambda state: state.account(name))

    def accounts(self) -> tuple[Account, ...]:
        """See `Ledger.accounts`."""
        return self._read(lambda state: state.accounts())

    def verify(self, known: Head | None = None) -> Head:
        """See `Ledger.verify`."""
        with self._lock, reading(self._engine) as connection:
            entries = _entries(connection, ORIGIN)
            state = LedgerState()
            state.advance(entries)
            for head in (self._state.head, known):
                if head is None or head == ORIGIN:
                    continue
                if head.sequence not in range(1, len(entries) + 1) or entries[head.sequence - 1].head != head:
                    raise _changed(head)
            self._state = state
            return state.head

    def _open_if_unchanged(self, body: RunOpened, judged: Priors) -> Priors | None:
        """Open the run if its accounts are as `judged`; returns them as they are, None for a run that exists."""

        def append(state: LedgerState) -> tuple[Body | None, Priors | None]:
            current = _priors(state, body)
            return (body if current == judged else None), current

        return self._write(append)

    def _read(self, view: Callable[[LedgerState], T]) -> T:
        with self._lock, reading(self._engine) as connection:
            self._catch_up(connection)
            return view(self._state)

    def _write(self, append: Callable[[LedgerState], tuple[Body | None, T]]) -> T:
        """Append what `append` makes of the current state, if anything, and return its result once that is on disk."""
        with self._lock:
            entry = None
            with writing(self._engine, _SUBJECT) as connection:
                self._catch_up(connection)
                body, result = append(self._state)
                if body is not None:
                    entry = chain(body, datetime.now(UTC).isoformat(timespec="milliseconds"), self._state.head)
                    connection.execute(insert(LEDGER_TABLE).values(_columns(entry)))
            # Not before the commit: what failed to commit is not part of the state.
            if entry is not None:
                self._state.advance([entry])
            return result

    def _catch_up(self, connection: Connection) -> None:
        head = self._state.head
        if head.sequence:
            stored = connection.execute(
                select(LEDGER_TABLE.c.digest).where(LEDGER_TABLE.c.sequence == head.sequence)
            ).scalar_one_or_none()
            if stored != head.digest:
                raise _changed(head)
        try:
            self._state.advance(_entries(connection, head))
        except IntegrityError:
            # Part of what is wrong may have been taken in.
            self._state = LedgerState()
            raise


def open_ledger(settings: Settings, *, create: bool = True) -> SqlLedger:
    """The installation's ledger; with `create`, its tables are made or brought up to date.

    Raises:
        InvalidInputError, UnavailableError: the database cannot be used.
    """
    engine = open_engine(configured_url(settings), create=create)
    if create:
        from acgs.storage.migrate import upgrade  # late: who only reads need not load alembic

        upgrade(engine)
    return SqlLedger(engine)


def _entries(connection: Connection, after: Head) -> list[Entry]:
    table = LEDGER_TABLE.c
    statement = (
        select(
            table.sequence,
            table.recorded_at,
            table.kind,
            table.run_id,
            table.body,
            table.previous_digest,
            table.digest,
        )
        .where(table.sequence > after.sequence)
        .order_by(table.sequence)
    )
    return [Entry(*row) for row in connection.execute(statement)]


def _columns(entry: Entry) -> dict[str, object]:
    return {column.name: getattr(entry, column.name) for column in LEDGER_TABLE.columns}


def _known(state: LedgerState, run_id: str) -> RunAccount:
    run = state.run(run_id)
    if run is None:
        raise InvalidInputError(f"the privacy ledger has no run {run_id}", field="run_id")
    return run


def _open(state: LedgerState, run_id: str) -> RunAccount:
    run = _known(state, run_id)
    if run.closed:
        raise InvalidInputError(f"run {run_id} is closed; open a new one", field="run_id")
    return run


def _refuse_stale(run: RunAccount, attempt: int) -> None:
    if attempt != run.attempts:
        raise InvalidInputError(
            f"attempt {attempt} of run {run.run_id} is not the one in force ({run.attempts}); stop this process",
            field="attempt",
        )


def _key_digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _changed(head: Head) -> IntegrityError:
    return IntegrityError(
        f"privacy ledger: entry {head.sequence} is gone or another than it was; restore the ledger from a backup"
    )


def _priors(state: LedgerState, body: RunOpened) -> Priors | None:
    """The priors of a new run's accounts, None for a run that is open already; refuses what cannot be charged."""
    datasets = tuple(DataSet(item.id, item.population) for item in body.datasets)
    existing = state.run(body.run_id)
    if existing is not None:
        if existing.plan != body.plan or existing.datasets != datasets:
            raise InvalidInputError(f"run {body.run_id} was opened with another plan or other data", field="run_id")
        _open(state, body.run_id)
        return None
    priors: Priors = {}
    for name in account_names(body.plan, datasets):
        account = state.account(name)
        if account is not None:
            refuse_other_terms(account, body.plan)
        priors[name] = account.committed() if account else ()
    return priors


def _refuse_overdraft(plan: PrivacyPlan, priors: Priors) -> None:
    for name, prior in priors.items():
        after = plan.composed(prior)
        if after > plan.target_epsilon:
            before = plan.composed(prior, 0)
            raise BudgetExceededError(
                f"{name}: epsilon {before:.3f} is spent or promised at delta {plan.delta:g}, with this run's "
                f"{plan.steps} steps it would be {after:.3f}, and the cap is {plan.target_epsilon:g}; "
                "run fewer steps, add noise, or close runs that ended"
            )
