"""The ledger's terms: what is asked of one, what it answers, and how it refuses.

A run is *opened* for a fixed number of steps, refused when that would overdraw a data set. Each block of steps is
*reserved* durably before it runs and *settled* after. A reservation that is never settled counts as spent for ever:
after a crash nobody can tell how many of its steps ran, and a checkpoint's own count forgets them (7.27 reported
where 8.15 was spent, measured).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from acgs.errors import AcgsError, InvalidInputError
from acgs.privacy.accountants import AccountantName, History, Segment, merge
from acgs.privacy.plan import PrivacyPlan, Unit

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}", re.ASCII)
GENESIS: Final = "0" * 64


class BudgetExceededError(AcgsError):
    """What is asked would spend more of a data set's budget than is left; the message has the numbers."""

    code = "privacy_budget_exceeded"


@dataclass(frozen=True, slots=True)
class DataSet:
    """What is spent from: a data set by digest, and the people it is about by the name of their population."""

    id: str
    population: str

    def __post_init__(self) -> None:
        check_name(self.id, "dataset")
        check_name(self.population, "population")


@dataclass(frozen=True, slots=True)
class Reservation:
    """Leave to run `steps`. `release_key` stays in the process that reserved: it alone may give steps back."""

    id: str
    run_id: str
    attempt: int
    steps: int
    release_key: str


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry's place and digest. Kept elsewhere, it shows that nothing up to it was removed or rewritten."""

    sequence: int
    digest: str

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read `SEQUENCE:DIGEST`, as `str` writes it. Raises `InvalidInputError`."""
        sequence, _, digest = text.partition(":")
        if not (sequence.isascii() and sequence.isdigit() and re.fullmatch(r"[0-9a-f]{64}", digest)):
            raise InvalidInputError("a ledger head is SEQUENCE:DIGEST, 64 hex digits", field="head")
        return cls(int(sequence), digest)

    def __str__(self) -> str:
        return f"{self.sequence}:{self.digest}"


@dataclass(frozen=True, slots=True)
class RunAccount:
    """One run as the ledger has it. Steps spent are `settled` plus `unsettled`, those reserved and never settled."""

    run_id: str
    owner: str
    opened_at: str
    datasets: tuple[DataSet, ...]
    plan: PrivacyPlan
    attempts: int
    settled: int
    unsettled: int
    closed: bool

    @property
    def steps_spent(self) -> int:
        """Steps that ran or may have run."""
        return self.settled + self.unsettled

    @property
    def steps_left(self) -> int:
        """Steps that may still be reserved."""
        return 0 if self.closed else self.plan.steps - self.steps_spent

    def spent(self) -> History:
        """The segments that ran or may have run."""
        return self.plan.history(self.steps_spent)

    def committed(self) -> History:
        """What was spent, and what an open run may still spend."""
        return self.plan.history(self.steps_spent + self.steps_left)


@dataclass(frozen=True, slots=True)
class Account:
    """What was spent of one data set, or by user-level runs of one population.

    Its first run fixes the terms (cap, delta, unit, accountant): what was promised under some cannot be added to what
    is asked under others.
    """

    name: str
    target_epsilon: float
    delta: float
    unit: Unit
    accountant: AccountantName
    runs: tuple[RunAccount, ...]

    def spent(self) -> History:
        """All runs' segments that ran or may have run."""
        return self._merged([run.spent() for run in self.runs])

    def committed(self, *, without: str | None = None) -> History:
        """What was spent and promised, leaving out the run `without`."""
        return self._merged([run.committed() for run in self.runs if run.run_id != without])

    @staticmethod
    def _merged(histories: Sequence[History]) -> History:
        return merge(segment for history in histories for segment in history)


class Ledger(Protocol):
    """Where spending is recorded. Every call reads the ledger first, and fails rather than guess.

    All raise `UnavailableError` when the ledger cannot be read or written, and `IntegrityError` when it was altered;
    in both cases no noisy step may run.
    """

    def open_run(self, run_id: str, plan: PrivacyPlan, datasets: Sequence[DataSet], *, owner: str) -> RunAccount:
        """Promise `plan.steps` to a new run, or return the same run opened before.

        `owner` names a team or a service, not a person. Raises `BudgetExceededError` when an account would be
        overdrawn, `InvalidInputError` when the run id stands for another plan or an account has other terms.
        """
        ...

    def begin_attempt(self, run_id: str) -> int:
        """Number the next attempt from 1. Earlier attempts can no longer reserve or settle."""
        ...

    def reserve(self, run_id: str, attempt: int, steps: int, mechanism: Segment) -> Reservation:
        """Durably count `steps` as spent. They may run once this returns, not before.

        `mechanism` is what will run (its own `steps` do not matter here). Raises `InvalidInputError` when it is not
        the plan's or the attempt is over, `BudgetExceededError` when fewer steps are left.
        """
        ...

    def settle(self, reservation: Reservation, steps_run: int) -> None:
        """Give back what did not run. Only the process that reserved can, once, and while its attempt lasts."""
        ...

    def close_run(self, run_id: str) -> RunAccount:
        """End a run and release the steps it never reserved. Closing twice changes nothing."""
        ...

    def run(self, run_id: str) -> RunAccount:
        """Raises `InvalidInputError` when the ledger has no such run."""
        ...

    def account(self, name: str) -> Account | None:
        """The account of a data set id, or of `population:NAME`; None when nothing was ever opened on it."""
        ...

    def accounts(self) -> tuple[Account, ...]:
        """All accounts, by name."""
        ...

    def verify(self, known: Head | None = None) -> Head:
        """Recompute the whole chain. Raises `IntegrityError` when it does not hold or no longer contains `known`."""
        ...


def refuse_other_terms(account: Account, plan: PrivacyPlan) -> None:
    """An account keeps the terms of its first run, else its sum would mean nothing.

    Raises:
        InvalidInputError: the plan has other terms; the first is named.
    """
    for field in ("target_epsilon", "delta", "unit", "accountant"):
        fixed, asked = getattr(account, field), getattr(plan, field)
        if fixed != asked:
            raise InvalidInputError(
                f"{account.name}: its first run fixed {field} at {fixed}, {asked} cannot be added to that; "
                "use the same, and run_epsilon for a smaller share",
                field=field,
            )


def account_names(plan: PrivacyPlan, datasets: Sequence[DataSet]) -> tuple[str, ...]:
    """The accounts a run is charged to: its data sets', and for unit `user` its populations'."""
    names = {dataset.id for dataset in datasets}
    if plan.unit == "user":
        names |= {population_account(dataset.population) for dataset in datasets}
    return tuple(sorted(names))


def population_account(population: str) -> str:
    """The name of a user population's account."""
    return f"population:{population}"


def check_name(name: str, field: str) -> None:
    """Raises `InvalidInputError` for what cannot be an id. The id is not repeated: it might be somebody's name."""
    if not _NAME.fullmatch(name):
        raise InvalidInputError(f"{field} must be 1 to 200 letters, digits or . _ : / @ + -", field=field)
    if field == "dataset" and name.startswith("population:"):
        raise InvalidInputError("a data set id does not begin with `population:`", field=field)
