"""The rules, asked so that the answer is always safe: engine, circuit breaker, local fallback, refusal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from acgs.constitution.lock import LockedConstitution
from acgs.errors import AcgsError, InvalidInputError, UnavailableError
from acgs.policy.breaker import CircuitBreaker
from acgs.policy.cedar import CedarEngine
from acgs.policy.clauses import ClauseEngine, FieldTypes
from acgs.policy.engine import RuleEngine, RuleInput, RuleViolation
from acgs.policy.rego import RegoEngine

_FAILURES = (AcgsError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, OSError)
"""What a broken engine may raise."""

ENGINES: dict[str, Callable[[LockedConstitution], RuleEngine]] = {
    "rego": RegoEngine,
    "cedar": CedarEngine,
    "clauses": ClauseEngine,
}


def open_engine(name: str, constitution: LockedConstitution) -> RuleEngine:
    """Compile the constitution for an engine.

    Raises:
        InvalidInputError: unknown engine, or rules it cannot hold.
    """
    if name not in ENGINES:
        raise InvalidInputError(f"unknown rule engine '{name}'; known: {', '.join(ENGINES)}", field="engine")
    return ENGINES[name](constitution)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rules' answer. `fallback` names why the local evaluator answered instead of the engine."""

    violations: tuple[RuleViolation, ...]
    engine: str
    fallback: str | None = None

    @property
    def allowed(self) -> bool:
        """No breached rule of severity `major` or `critical`."""
        return all(violation.severity == "minor" for violation in self.violations)


class RuleJudge:
    """Asks the engine; when it raises, is too slow or rests, the fallback judges the same rules.

    The time-out is checked after the call: Rego and Cedar programs terminate, and a thread a request would cost
    more than the rules themselves. A late answer is discarded.
    """

    def __init__(
        self,
        constitution: LockedConstitution,
        engine: RuleEngine,
        *,
        fallback: RuleEngine | None = None,
        breaker: CircuitBreaker | None = None,
        timeout_seconds: float = 0.25,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """
        Raises:
            InvalidInputError: the constitution holds no rules at all (an empty bundle would allow everything).
            UnavailableError: an engine was compiled from another constitution.
        """
        if not constitution.document.rules and not constitution.document.rego:
            raise InvalidInputError("the constitution holds no rules; an empty bundle would allow everything")
        self.engine = engine
        self.breaker = breaker or CircuitBreaker()
        self._fallback = fallback or ClauseEngine(constitution)
        for part in (self.engine, self._fallback):
            if part.policy_version != constitution.digest:
                raise UnavailableError(f"the {part.name} rules were compiled from another constitution")
        self._types = FieldTypes(constitution.document)
        self._timeout = timeout_seconds
        self._clock = clock

    def rule(self, request: RuleInput) -> Ruling:
        """Judge a request.

        Raises:
            InvalidInputError: a field has the wrong type; it is named.
            UnavailableError: neither the engine nor the fallback could answer.
        """
        self._types.check(request)
        if not self.breaker.allows:
            return self._fall_back(request, "circuit open")
        started = self._clock()
        try:
            violations = self.engine.evaluate(request)
        except _FAILURES as error:
            self.breaker.record_failure()
            return self._fall_back(request, f"engine failed: {type(error).__name__}")
        if self._clock() - started > self._timeout:
            self.breaker.record_failure()
            return self._fall_back(request, "engine too slow")
        self.breaker.record_success()
        return Ruling(tuple(violations), self.engine.name)

    def _fall_back(self, request: RuleInput, reason: str) -> Ruling:
        try:
            violations = self._fallback.evaluate(request)
        except UnavailableError:
            raise
        except _FAILURES as error:
            raise UnavailableError(f"{reason}, and the fallback failed: {type(error).__name__}") from error
        return Ruling(tuple(violations), self._fallback.name, fallback=reason)
