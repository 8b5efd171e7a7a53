"""Cedar through cedarpy: each rule is a `forbid`, with `permit` as the only other policy.

Cedar has no floating-point numbers: numbers are compared as its decimal type, which has four places.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import cedarpy

from acgs.constitution.document import Clause, Operator, Rule
from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError, UnavailableError
from acgs.policy.clauses import ABSENT, lookup, violation_of
from acgs.policy.engine import RuleInput, RuleViolation

_PLACES = Decimal("0.0001")
_ORDER = {
    Operator.LT: "lessThan",
    Operator.LE: "lessThanOrEqual",
    Operator.GT: "greaterThan",
    Operator.GE: "greaterThanOrEqual",
}


def _decimal(value: float) -> str:
    exact = Decimal(str(value))
    rounded = exact.quantize(_PLACES)
    if exact != rounded:
        raise ValueError("more than four decimal places")
    return f"{rounded:f}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f'decimal("{_decimal(value)}")'
    return json.dumps(value, ensure_ascii=False)


def _presence(path: str) -> str:
    parts = path.split(".")
    steps = [(".".join(["context", *parts[:depth]]), parts[depth]) for depth in range(len(parts))]
    return " && ".join(f"{parent} has {child}" for parent, child in steps)


def _condition(clause: Clause) -> str:
    path = f"context.{clause.field}"
    present = _presence(clause.field)
    match clause.op:
        case Operator.MISSING:
            return f"!({present})"
        case Operator.NE:
            return f"!({present} && {path} == {_literal(clause.value)})"
        case Operator.EQ:
            return f"{present} && {path} == {_literal(clause.value)}"
        case Operator.IN:
            values = ", ".join(_literal(item) for item in clause.value) if isinstance(clause.value, list) else ""
            return f"{present} && [{values}].contains({path})"
        case _:
            return f"{present} && {path}.{_ORDER[clause.op]}({_literal(clause.value)})"


def cedar_source(rules: list[Rule]) -> str:
    """Cedar text of the clause rules; the annotation `@id` carries the rule's id."""
    policies = ["permit (principal, action, resource);"]
    for rule in rules:
        conditions = " && ".join(f"({_condition(clause)})" for clause in rule.when)
        policies.append(
            f'@id("{rule.id}")\nforbid (principal, action == Action::"{rule.scope}", resource) when {{ {conditions} }};'
        )
    return "\n".join(policies) + "\n"


class CedarEngine:
    """The second engine; also the independent check of a decision made by Rego."""

    name = "cedar"

    def __init__(self, constitution: LockedConstitution) -> None:
        """Parse the policy set.

        Raises:
            InvalidInputError: the constitution has hand-written Rego, or a number Cedar cannot hold.
        """
        document = constitution.document
        if document.rego:
            raise InvalidInputError("hand-written Rego modules need the Rego engine", field="rego")
        self.policy_version = constitution.digest
        self._scopes = {"common", *document.domains, *document.actions}
        # Cedar names the policies of a parsed set policy0, policy1, ... in order; policy0 is the permit.
        self._known = {f"policy{number}": violation_of(rule) for number, rule in enumerate(document.rules, start=1)}
        self._fields = sorted({clause.field for rule in document.rules for clause in rule.when})
        try:
            self._policies = cedarpy.PolicySet.from_str(cedar_source(document.rules))
        except ValueError as error:
            raise InvalidInputError(f"the rules cannot be stated in Cedar: {error}", field="rules") from error
        self._entities = cedarpy.Entities.from_json_str("[]")

    def _project(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Only the fields that rules read, in Cedar's types."""
        record: dict[str, Any] = {"context": {}, "input_data": {}, "facts": {}}
        for path in self._fields:
            value = lookup(document, path)
            if value is ABSENT:
                continue
            *parents, leaf = path.split(".")
            target = record
            for parent in parents:
                target = target.setdefault(parent, {})
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = {"__extn": {"fn": "decimal", "arg": _decimal(value)}}
            target[leaf] = value
        return record

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        """See `RuleEngine.evaluate`.

        Raises:
            UnavailableError: the engine failed or reported an error on any policy.
        """
        unknown = set(request.scopes) - self._scopes
        if unknown:
            raise UnavailableError(f"no rules are compiled for the scopes {sorted(unknown)}")
        found: list[RuleViolation] = []
        try:
            context = self._project(request.document())
            for scope in request.scopes:
                question = {
                    "principal": 'Caller::"any"',
                    "action": f'Action::"{scope}"',
                    "resource": 'Decision::"any"',
                    "context": context,
                }
                answer = cedarpy.is_authorized(question, self._policies, self._entities)
                if answer.diagnostics.errors or answer.decision is cedarpy.Decision.NoDecision:
                    raise ValueError("a policy could not be evaluated")
                if answer.decision is cedarpy.Decision.Deny:
                    found += [self._known[reason] for reason in answer.diagnostics.reasons]
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise UnavailableError(f"the Cedar engine failed: {type(error).__name__}: {error}") from error
        return sorted(found, key=lambda violation: violation.rule)
