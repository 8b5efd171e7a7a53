"""What a rule engine is given and what it answers; engines are interchangeable behind `RuleEngine`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class RuleInput:
    """Structured facts to judge. `scopes` picks the rules: `common`, a domain, or an action."""

    scopes: tuple[str, ...]
    context: Mapping[str, Any] = field(default_factory=dict)
    input_data: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The nested form that rule fields address (`context.a.b`)."""
        return {"context": self.context, "input_data": self.input_data, "facts": self.facts}


@dataclass(frozen=True, slots=True)
class ClauseReason:
    """One condition that held: field, operator, the rule's value. The input's own value is never repeated."""

    field: str
    op: str
    value: Any = None

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"field": self.field, "op": self.op, "value": self.value}


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """A breached rule with the clauses that made it so."""

    rule: str
    principle: str
    severity: str
    message: str
    clauses: tuple[ClauseReason, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "rule": self.rule,
            "principle": self.principle,
            "severity": self.severity,
            "message": self.message,
            "clauses": [clause.as_dict() for clause in self.clauses],
        }


@runtime_checkable
class RuleEngine(Protocol):
    """Evaluates the rules of a constitution. Both shipped languages guarantee termination.

    `evaluate` raises on any failure; it never answers 'no violation' because something went wrong.
    """

    @property
    def name(self) -> str:
        """`rego`, `cedar` or `clauses`."""

    @property
    def policy_version(self) -> str:
        """The constitution digest the rules were compiled from."""

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        """Every breached rule in the request's scopes, ordered by rule id."""
