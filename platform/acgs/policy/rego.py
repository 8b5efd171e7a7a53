"""Rego through regopy (rego-cpp): rules are compiled once into a bundle with one entry point a rule."""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Any

# librego has to find the C++ library loaded, or importing torch behind it aborts the process.
with suppress(OSError):
    ctypes.CDLL("libstdc++.so.6")

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


_TRUE = '{"expressions":[true]}'
_UNDEFINED = "undefined"
"""What rego-cpp answers of a rule."""


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


def _breached(rule: Rule) -> str:
    return f"breached_{rule.id.replace('-', '_')}"


def rego_source(rules: list[Rule], scope: str) -> str:
    """Rego text of the clause rules of one scope; `violations` is a set of rule ids, `breached_<id>` one rule."""
    lines = [f"package acgs.rules.{scope}", "", "import rego.v1", "", "violations contains null if false"]
    for rule in rules:
        lines += ["", f"# {' '.join(rule.message.split())}", f"{_breached(rule)} if {{"]
        lines += [f"\t{_condition(clause)}" for clause in rule.when]
        lines += ["}", f'violations contains "{rule.id}" if {_breached(rule)}']
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
        self._with_module = {module.scope for module in document.rego}
        self._principles = frozenset(document.principle_ids)
        self._index = RuleIndex(document)
        self._read: dict[str, set[str]] = {}
        for part, key, *_ in (clause.field.split(".") for rule in document.rules for clause in rule.when):
            self._read.setdefault(part, set()).add(key)
        self._interpreter = Interpreter()
        # The interpreter holds the input between two calls, so one thread at a time may use it.
        self._lock = threading.Lock()
        entry_points = ["acgs/rules/common/violations"]
        entry_points += [f"acgs/rules/{rule.scope}/{_breached(rule)}" for rule in document.rules]
        try:
            for scope in sorted(self._scopes):
                self._interpreter.add_module(scope, rego_source(document.rules_in(scope), scope))
            for module in document.rego:
                self._interpreter.add_module(module.name, module.source)
                entry_points.append(f"acgs/rules/{module.scope}/violations")
            self._bundle = self._interpreter.build(None, sorted(set(entry_points)))
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
        modules = self._with_module.intersection(request.scopes)
        rules = [rule for rule in self._index.reachable(request.scopes, document) if rule.scope not in modules]
        found: list[RuleViolation] = []
        if not modules and not rules:
            return found
        try:
            with self._lock:
                self._interpreter.set_input(document if modules else self._project(document))
                for scope in sorted(modules):
                    found += self._violations(scope)
                found += [self._known[rule.id] for rule in rules if self._is_breached(rule)]
        except (RegoError, TypeError, KeyError, ValueError, IndexError) as error:
            raise UnavailableError(f"the Rego engine failed: {type(error).__name__}") from error
        return sorted(found, key=lambda violation: violation.rule)

    def _project(self, document: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """What clause rules can read of a document, which may hold much else."""
        return {
            part: {key: document[part][key] for key in keys & document[part].keys()}
            for part, keys in self._read.items()
        }

    def _ask(self, entry_point: str) -> str:
        return str(self._interpreter.query_bundle_entrypoint(self._bundle, entry_point))

    def _is_breached(self, rule: Rule) -> bool:
        """One rule, which is true or undefined."""
        answer = self._ask(f"acgs/rules/{rule.scope}/{_breached(rule)}")
        if answer not in (_TRUE, _UNDEFINED):
            raise ValueError("a rule is neither true nor undefined")
        return answer == _TRUE

    def _violations(self, scope: str) -> list[RuleViolation]:
        """Every violation of a scope with a hand-written module."""
        items = json.loads(self._ask(f"acgs/rules/{scope}/violations"))["expressions"][0]
        if not isinstance(items, list):
            raise TypeError("violations is not a set")
        return [self._known[item] if isinstance(item, str) else _from_module(item, self._principles) for item in items]
