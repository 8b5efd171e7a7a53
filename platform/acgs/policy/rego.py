"""Rego through regopy (rego-cpp): rules are compiled once into a bundle with one entry point a scope."""

from __future__ import annotations

import json
import threading
from collections.abc import Container
from typing import Any

from regopy import Interpreter, RegoError

from acgs.constitution.document import Clause, Operator, Rule, Severity
from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError, UnavailableError
from acgs.policy.clauses import RuleIndex, violation_of
from acgs.policy.engine import ClauseReason, RuleInput, RuleViolation

_ORDER = {
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
}


def _literal(value: Any) -> str:
    """Rego text of a value.

    Raises:
        InvalidInputError: a text needs an escape. rego-cpp leaves escapes as they are, so it would equal nothing.
    """
    text = json.dumps(value, ensure_ascii=False)
    if "\\" in text:
        raise InvalidInputError(
            "Rego cannot compare texts with quotes, backslashes or control characters", field="rules"
        )
    return text


def _condition(clause: Clause) -> str:
    path = f"input.{clause.field}"
    value = _literal(clause.value)
    match clause.op:
        case Operator.MISSING:
            return f"object.get(input, {json.dumps(clause.field.split('.'))}, null) == null"
        case Operator.NE:
            return f"not {path} == {value}"
        case Operator.IN:
            return f"{path} in {value}"
        case Operator.EQ:
            return f"{path} == {value}"
        case _:
            # Rego orders null among the numbers; for us it is an absent field.
            return f"{path} != null; {path} {_ORDER[clause.op]} {value}"


def rego_source(rules: list[Rule], scope: str) -> str:
    """Rego text of the clause rules of one scope; `violations` is a set of rule ids."""
    lines = [f"package acgs.rules.{scope}", "", "import rego.v1", "", "violations contains null if false"]
    for rule in rules:
        lines += ["", f"# {' '.join(rule.message.split())}", f'violations contains "{rule.id}" if {{']
        lines += [f"\t{_condition(clause)}" for clause in rule.when]
        lines.append("}")
    return "\n".join(lines) + "\n"


def _from_module(item: Any, principles: Container[str]) -> RuleViolation:
    """A violation that a hand-written module reports as an object.

    Raises:
        TypeError, KeyError, ValueError: it is none, or names a severity or principle that does not exist.
    """
    if not isinstance(item, dict) or not all(isinstance(clause, dict) for clause in item.get("clauses", [])):
        raise TypeError("a violation is a rule id or an object")
    if item["principle"] not in principles:
        raise ValueError("a violation names an unknown principle")
    clauses = tuple(
        ClauseReason(str(clause["field"]), str(clause["op"]), clause.get("value")) for clause in item.get("clauses", [])
    )
    severity = Severity(item["severity"]).value
    return RuleViolation(str(item["rule"]), item["principle"], severity, str(item["message"]), clauses)


class RegoEngine:
    """The default engine."""

    name = "rego"

    def __init__(self, constitution: LockedConstitution) -> None:
        """Compile the bundle.

        Raises:
            InvalidInputError: a hand-written module does not compile, or a rule cannot be stated in Rego.
        """
        document = constitution.document
        self.policy_version = constitution.digest
        self._known = {rule.id: violation_of(rule) for rule in document.rules}
        self._scopes = {"common", *document.domains, *document.actions}
        self._principles = frozenset(document.principle_ids)
        self._index = RuleIndex(document)
        self._interpreter = Interpreter()
        # The interpreter holds the input between two calls, so one thread at a time may use it.
        self._lock = threading.Lock()
        entry_points = []
        try:
            for scope in sorted(self._scopes):
                self._interpreter.add_module(scope, rego_source(document.rules_in(scope), scope))
                entry_points.append(f"acgs/rules/{scope}/violations")
            for module in document.rego:
                self._interpreter.add_module(module.name, module.source)
            self._bundle = self._interpreter.build(None, entry_points)
        except RegoError as error:
            raise InvalidInputError(f"the constitution's Rego does not compile: {error}", field="rego") from error

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        """See `RuleEngine.evaluate`.

        Raises:
            UnavailableError: the engine failed, or answered something that is not a set of violations.
        """
        unknown = set(request.scopes) - self._scopes
        if unknown:
            raise UnavailableError(f"no rules are compiled for the scopes {sorted(unknown)}")
        document = request.document()
        scopes = self._index.reachable(request.scopes, document)
        found: list[RuleViolation] = []
        if not scopes:
            return found
        try:
            with self._lock:
                self._interpreter.set_input(document)
                for scope in scopes:
                    found += self._query(scope)
        except (RegoError, TypeError, KeyError, ValueError, IndexError) as error:
            raise UnavailableError(f"the Rego engine failed: {type(error).__name__}") from error
        return sorted(found, key=lambda violation: violation.rule)

    def _query(self, scope: str) -> list[RuleViolation]:
        output = self._interpreter.query_bundle_entrypoint(self._bundle, f"acgs/rules/{scope}/violations")
        items = json.loads(str(output))["expressions"][0]
        if not isinstance(items, list):
            raise TypeError("violations is not a set")
        return [self._known[item] if isinstance(item, str) else _from_module(item, self._principles) for item in items]
