"""What a guard is: it reads the evidence under an error budget and returns a verdict with the figures behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel, ConfigDict

from acgs.release.evidence import Evidence
from acgs.statistics.evidence import CONFIDENCE, InsufficientDataError, Verdict
from acgs.statistics.multiplicity import power_per_guard
from acgs.statistics.power import POWER


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """How often a guard may err: pass what is bad with 1 - `confidence`, stop what is good with 1 - `power`."""

    confidence: float = CONFIDENCE
    power: float = POWER

    def shared_by_all(self, guards: int) -> ErrorBudget:
        """Where all must pass, each keeps the confidence and needs more power (Berger 1982)."""
        return replace(self, power=power_per_guard(self.power, guards))

    def shared_by_any(self, guards: int) -> ErrorBudget:
        """Where one is enough, each gets its part of alpha (Bonferroni)."""
        return replace(self, confidence=1 - (1 - self.confidence) / guards)


DEFAULT_BUDGET: Final = ErrorBudget()


class GuardResult(BaseModel):
    """A verdict and all that is needed to repeat it. Figures that could not be had are None."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    guard: str
    verdict: Verdict
    reason: str
    unit: str
    value: float | None = None
    bound: float | None = None
    margin: float | None = None
    n: int
    minimum_n: int
    method: str
    confidence: float
    seed: int
    split_digest: str
    parts: tuple[GuardResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one measurement says. `margin` is what `bound` is held against, in the same unit."""

    verdict: Verdict
    reason: str
    value: float
    bound: float | None
    margin: float | None
    method: str


class Guard(ABC):
    """One condition on a candidate."""

    name: str

    @abstractmethod
    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        """Judge the evidence; missing or too few data are INSUFFICIENT, never an error and never a pass."""


class MeasuringGuard(Guard):
    """A guard over one kind of measurement."""

    unit: str
    minimum_n: int
    """Fewer measurements than this are INSUFFICIENT, whatever they show."""

    @abstractmethod
    def count(self, evidence: Evidence) -> int:
        """Number of measurements at hand."""

    @abstractmethod
    def read(self, evidence: Evidence, budget: ErrorBudget) -> Reading:
        """Judge at least `minimum_n` measurements.

        Raises:
            InsufficientDataError: they support no number after all.
        """

    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        """Judge the evidence (see `Guard.check`)."""
        n = self.count(evidence)
        reading, reason = None, "no data: this was not measured"
        if 0 < n < self.minimum_n:
            reason = f"{n} measurements are fewer than the {self.minimum_n} needed"
        elif n:
            try:
                reading = self.read(evidence, budget)
            except InsufficientDataError as error:
                reason = error.message
        return GuardResult(
            guard=self.name,
            verdict=reading.verdict if reading else Verdict.INSUFFICIENT,
            reason=reading.reason if reading else reason,
            unit=self.unit,
            value=reading.value if reading else None,
            bound=reading.bound if reading else None,
            margin=reading.margin if reading else None,
            n=n,
            minimum_n=self.minimum_n,
            method=reading.method if reading else "none",
            confidence=budget.confidence,
            seed=evidence.seed,
            split_digest=evidence.split.digest,
        )


def shown(*, good: bool, bad: bool) -> Verdict:
    """PASS where the bound on the near side clears the margin, FAIL where that on the far side misses it."""
    if good:
        return Verdict.PASS
    return Verdict.FAIL if bad else Verdict.INSUFFICIENT
