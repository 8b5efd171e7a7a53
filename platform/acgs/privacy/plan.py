"""The privacy plan of a run: public constants fixed before any data is read, and the steps they allow.

Population, batch and sampling rate are declared, never measured on the data: a figure derived from the private data
would itself leak. Steps are counted, never derived from epochs by dividing twice (`int(1 / (1 / 93))` is 92).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acgs.errors import InvalidInputError
from acgs.privacy.accountants import (
    AccountantName,
    History,
    Segment,
    epsilon,
    max_steps,
    merge,
    solve_noise_multiplier,
)

Unit = Literal["record", "sequence", "user"]

DEFAULT_EPSILON: Final = 8.0
DEFAULT_DELTA: Final = 1e-5
WARNING_SHARE: Final = 0.90
CRITICAL_SHARE: Final = 0.95
"""The noise is solved for this share of epsilon: the last 5 % of it would buy some 17 % more steps, so that a schedule
that meant to use them would be cut off before its learning rate has come down."""


class PrivacyPlan(BaseModel):
    """What a run may do to its data. `epsilon(plan.history(), plan.delta)` is what that costs when all of it runs.

    Raises:
        InvalidInputError: naming the field, when the plan gives no guarantee or contradicts itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    population: int = Field(ge=1, description="units in the data, a public constant (users for unit `user`)")
    expected_batch: int = Field(ge=1, description="expected units in a Poisson batch, over all workers")
    steps: int = Field(ge=1, description="noisy steps that may run at most; steps lost in a crash count")
    noise_multiplier: float = Field(gt=0, description="noise's standard deviation over max_grad_norm")
    max_grad_norm: float = Field(1.0, gt=0, description="clipping norm of one unit's gradient")
    target_epsilon: float = Field(DEFAULT_EPSILON, gt=0, description="the cap on the data's composed epsilon")
    run_epsilon: float | None = Field(None, gt=0, description="the cap on this run's own epsilon, if smaller")
    delta: float = Field(DEFAULT_DELTA, gt=0, lt=1, description="below one in population")
    accountant: AccountantName = Field("larger", description="whose epsilon the cap applies to")
    adjacency: Literal["add_or_remove_one"] = "add_or_remove_one"
    unit: Unit = Field("record", description="what one may add or remove without being noticed")
    contribution_cap: int | None = Field(None, ge=1, description="unit `user`: records used of one user at most")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            name = str(first["loc"][0]) if first["loc"] else None
            reason = first["msg"].removeprefix("Value error, ")
            raise InvalidInputError(f"privacy plan: {name}: {reason}" if name else reason, field=name) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.expected_batch > self.population:
            raise InvalidInputError(
                f"expected_batch {self.expected_batch} is larger than the population of {self.population}",
                field="expected_batch",
            )
        if self.delta * self.population >= 1:
            raise InvalidInputError(
                f"delta {self.delta:g} must be below 1/population = {1 / self.population:.3g}, or publishing one "
                f"{self.unit} whole would pass for private",
                field="delta",
            )
        if self.run_epsilon is not None and self.run_epsilon > self.target_epsilon:
            raise InvalidInputError("run_epsilon cannot be above target_epsilon", field="run_epsilon")
        if (self.unit == "user") != (self.contribution_cap is not None):
            raise InvalidInputError(
                "contribution_cap belongs to unit `user`, and unit `user` needs it", field="contribution_cap"
            )
        return self

    @property
    def sample_rate(self) -> float:
        """Chance of one unit to be in a batch."""
        return self.expected_batch / self.population

    def history(self, steps: int | None = None) -> History:
        """`steps` of this plan's mechanism, by default all."""
        return (Segment(self.noise_multiplier, self.sample_rate, self.steps if steps is None else steps),)

    def composed(self, prior: Iterable[Segment], steps: int | None = None) -> float:
        """Epsilon, by the plan's accountant, of `prior` and then `steps` of this plan."""
        return epsilon((*prior, *self.history(steps)), self.delta, self.accountant)


def plan_privacy(
    *,
    population: int,
    expected_batch: int,
    steps: int,
    target_epsilon: float = DEFAULT_EPSILON,
    run_epsilon: float | None = None,
    delta: float = DEFAULT_DELTA,
    max_grad_norm: float = 1.0,
    accountant: AccountantName = "larger",
    unit: Unit = "record",
    contribution_cap: int | None = None,
    priors: Sequence[Iterable[Segment]] = (),
) -> PrivacyPlan:
    """The plan whose noise lets `steps` end at 95 % of its caps, after what each data set has spent (`priors`).

    Raises:
        InvalidInputError: naming the field; `target_epsilon` when a prior leaves nothing to spend.
    """
    draft = PrivacyPlan(
        population=population,
        expected_batch=expected_batch,
        steps=steps,
        noise_multiplier=1.0,
        max_grad_norm=max_grad_norm,
        target_epsilon=target_epsilon,
        run_epsilon=run_epsilon,
        delta=delta,
        accountant=accountant,
        unit=unit,
        contribution_cap=contribution_cap,
    )
    sigma = max(
        solve_noise_multiplier(CRITICAL_SHARE * cap, delta, draft.sample_rate, steps, accountant, prior=prior)
        for cap, prior in caps(draft, priors)
    )
    return draft.model_copy(update={"noise_multiplier": sigma})


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How many steps of a plan keep the composed epsilon within 90, 95 and 100 % of the target."""

    warning: int
    critical: int
    exhausted: int


def step_limits(plan: PrivacyPlan, priors: Sequence[Iterable[Segment]] = ()) -> StepLimits:
    """Worked out once at the start, so that the check before each step compares integers.

    `priors` is what each of the run's data sets has spent or promised elsewhere; the scarcest decides.
    """

    def limit(share: float) -> int:
        return min(
            max_steps(share * cap, plan.delta, plan.noise_multiplier, plan.sample_rate, plan.accountant, prior=prior)
            for cap, prior in caps(plan, priors)
        )

    return StepLimits(limit(WARNING_SHARE), limit(CRITICAL_SHARE), limit(1.0))


def caps(plan: PrivacyPlan, priors: Sequence[Iterable[Segment]]) -> list[tuple[float, History]]:
    """Each cap on epsilon, with what is composed before the plan's own steps."""
    found = [(plan.target_epsilon, history) for history in sorted({merge(prior) for prior in priors} or {()})]
    return found if plan.run_epsilon is None else [*found, (plan.run_epsilon, ())]
