"""The training loop's gate: asked before each noisy step, it answers from integers and keeps the ledger ahead.

One process of a run asks, the one that adds the noise, and tells the others what it was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self

from acgs.errors import InvalidInputError
from acgs.privacy.accountants import History
from acgs.privacy.ledger import Ledger, Reservation, account_names
from acgs.privacy.plan import PrivacyPlan, caps, step_limits

BudgetState = Literal["ok", "warning", "critical", "exhausted"]
Violation = Literal["privacy_budget_exceeded", "epsilon_too_high", "delta_too_high", "noise_multiplier_too_low"]

EPSILON_TOO_HIGH: Final = 10.0
DELTA_TOO_HIGH: Final = 1e-4
NOISE_MULTIPLIER_TOO_LOW: Final = 0.5

DEFAULT_BLOCK: Final = 20
"""Steps reserved at a time: one durable write for each block, and at most one block lost in a crash."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """Where a run's scarcest cap stands: a data set's, all runs composed, or the run's own `run_epsilon`.

    `epsilon` and `target_epsilon` are that cap's, `training_steps` the run's.
    """

    state: BudgetState
    epsilon: float
    delta: float
    target_epsilon: float
    remaining_budget: float
    budget_utilization: float
    training_steps: int
    violations: tuple[Violation, ...]

    def as_dict(self) -> dict[str, Any]:
        """For metrics and reports."""
        return {name: getattr(self, name) for name in self.__slots__} | {"violations": list(self.violations)}


class BudgetGuard:
    """Counts a run's steps against limits worked out once. Use it as a context manager around the loop.

    Leaving the block settles what was reserved; a process that dies leaves it unsettled, and so counted.
    """

    def __init__(self, ledger: Ledger, run_id: str, *, block: int = DEFAULT_BLOCK) -> None:
        """Begin an attempt at an opened run; earlier attempts are over. Composes all accounts once: seconds.

        Raises:
            InvalidInputError: `block` is below 1, or the run is unknown or closed.
            UnavailableError, IntegrityError: the ledger cannot be used; nothing may be trained.
        """
        if block < 1:
            raise InvalidInputError("block must be at least 1 step", field="block")
        self._ledger = ledger
        self._block = block
        run = ledger.run(run_id)
        self._run_id = run_id
        self._plan = run.plan
        self._mechanism = run.plan.history(1)[0]
        self._priors = _priors(ledger, run_id)
        self._limits = step_limits(run.plan, self._priors)
        self._last = min(run.plan.steps, self._limits.critical)
        self._attempt = ledger.begin_attempt(run_id)
        # Read after the attempt began: from here on no other process can add to it.
        self._before = ledger.run(run_id).steps_spent
        self._settled = 0
        self._reservation: Reservation | None = None
        self._used = 0

    @property
    def attempt(self) -> int:
        """This attempt's number, from 1."""
        return self._attempt

    @property
    def steps(self) -> int:
        """The run's steps that ran or may have run, those of earlier attempts included."""
        return self._before + self._settled + self._used

    @property
    def steps_left(self) -> int:
        """Steps that `permit` will still allow: up to the plan's, and to 95 % of the budget."""
        return max(0, self._last - self.steps)

    @property
    def state(self) -> BudgetState:
        """`critical` once the next step would pass 95 %: stop cleanly and keep the checkpoint."""
        if self.steps >= self._limits.exhausted:
            return "exhausted"
        if self.steps >= self._limits.critical:
            return "critical"
        return "warning" if self.steps > self._limits.warning else "ok"

    def permit(self) -> bool:
        """Ask before each noisy step. True counts it as run; False means stop now.

        Raises:
            UnavailableError, IntegrityError, InvalidInputError: the step could not be counted, so it must not run.
        """
        if self._reservation is not None and self._used < self._reservation.steps:
            self._used += 1
            return True
        self._settle()
        block = min(self._block, self.steps_left)
        if block == 0:
            return False
        self._reservation = self._ledger.reserve(self._run_id, self._attempt, block, self._mechanism)
        self._used = 1
        return True

    def status(self) -> BudgetStatus:
        """Composes: tenths of a second to seconds. For reports and checkpoints, not for each step."""
        plan, steps = self._plan, self.steps
        standing = [(plan.composed(prior, steps), cap) for cap, prior in caps(plan, self._priors)]
        epsilon, cap = max(standing, key=lambda item: item[0] / item[1])
        return BudgetStatus(
            state=self.state,
            epsilon=epsilon,
            delta=plan.delta,
            target_epsilon=cap,
            remaining_budget=max(0.0, cap - epsilon),
            budget_utilization=epsilon / cap,
            training_steps=steps,
            violations=violations(plan, max(composed for composed, _ in standing)),
        )

    def close(self) -> None:
        """Settle what is reserved. The run stays open for another attempt; `Ledger.close_run` ends it."""
        self._settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error too: this process knows how many steps it let through.
        self.close()

    def _settle(self) -> None:
        if self._reservation is None:
            return
        reservation, used = self._reservation, self._used
        # Forgotten first: if settling fails, the ledger counts the whole block, and so does this.
        self._reservation, self._used = None, 0
        self._settled += reservation.steps
        self._ledger.settle(reservation, used)
        self._settled -= reservation.steps - used


def violations(plan: PrivacyPlan, epsilon: float) -> tuple[Violation, ...]:
    """What is wrong with a plan that has come to `epsilon`; names are those of the published contract."""
    found: Mapping[Violation, bool] = {
        "privacy_budget_exceeded": epsilon > plan.target_epsilon,
        "epsilon_too_high": epsilon > EPSILON_TOO_HIGH,
        "delta_too_high": plan.delta > DELTA_TOO_HIGH,
        "noise_multiplier_too_low": plan.noise_multiplier < NOISE_MULTIPLIER_TOO_LOW,
    }
    return tuple(name for name, holds in found.items() if holds)


def _priors(ledger: Ledger, run_id: str) -> Sequence[History]:
    """What other runs have spent and were promised, for each account of this one."""
    run = ledger.run(run_id)
    accounts = [ledger.account(name) for name in account_names(run.plan, run.datasets)]
    return [account.committed(without=run_id) for account in accounts if account is not None]
