"""Guards made of guards; the error budget is shared out so that the whole errs no more than a single guard may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acgs.errors import InvalidInputError
from acgs.release.evidence import Evidence
from acgs.release.guards.guard import DEFAULT_BUDGET, ErrorBudget, Guard, GuardResult
from acgs.statistics.evidence import Verdict
from acgs.statistics.multiplicity import all_must_pass


@dataclass(frozen=True)
class AllOf(Guard):
    """PASS if every guard passes, FAIL if one fails.

    Raises:
        InvalidInputError: there is no guard, or two have the same name.
    """

    name: str
    guards: Sequence[Guard]

    def __post_init__(self) -> None:
        _require_distinct(self.name, self.guards)

    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        """Judge by all guards, each at full confidence (see `ErrorBudget.shared_by_all`)."""
        each = budget.shared_by_all(len(self.guards))
        parts = tuple(guard.check(evidence, each) for guard in self.guards)
        return _joined(self, all_must_pass(part.verdict for part in parts), parts, evidence, budget)


@dataclass(frozen=True)
class AnyOf(Guard):
    """PASS if one guard passes, FAIL if all fail.

    Raises:
        InvalidInputError: there is no guard, or two have the same name.
    """

    name: str
    guards: Sequence[Guard]

    def __post_init__(self) -> None:
        _require_distinct(self.name, self.guards)

    def check(self, evidence: Evidence, budget: ErrorBudget = DEFAULT_BUDGET) -> GuardResult:
        """Judge by all guards, each with its part of alpha (see `ErrorBudget.shared_by_any`)."""
        each = budget.shared_by_any(len(self.guards))
        parts = tuple(guard.check(evidence, each) for guard in self.guards)
        verdicts = {part.verdict for part in parts}
        verdict = Verdict.INSUFFICIENT
        if Verdict.PASS in verdicts:
            verdict = Verdict.PASS
        elif verdicts == {Verdict.FAIL}:
            verdict = Verdict.FAIL
        return _joined(self, verdict, parts, evidence, budget)


def _require_distinct(name: str, guards: Sequence[Guard]) -> None:
    names = {guard.name for guard in guards}
    if not names or len(names) < len(guards):
        raise InvalidInputError(f"{name} needs at least one guard, and a name of its own for each", field=name)


def _joined(
    guard: AllOf | AnyOf, verdict: Verdict, parts: tuple[GuardResult, ...], evidence: Evidence, budget: ErrorBudget
) -> GuardResult:
    every = isinstance(guard, AllOf)
    open_parts = [f"{part.guard} {part.verdict}" for part in parts if part.verdict != Verdict.PASS]
    return GuardResult(
        guard=guard.name,
        verdict=verdict,
        reason=", ".join(open_parts) if open_parts else "every part passes",
        unit="",
        n=sum(part.verdict == Verdict.PASS for part in parts),
        minimum_n=len(parts) if every else 1,
        method="all of" if every else "any of",
        confidence=budget.confidence,
        seed=evidence.seed,
        split_digest=evidence.split.digest,
        parts=parts,
    )
