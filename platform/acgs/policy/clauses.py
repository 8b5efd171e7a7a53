"""Clauses evaluated natively: the oracle for the engines, the scenario generator's judge, and the local fallback.

A null counts as absent. A field of another type than its rules compare it with is an input error, because
reading `"false"` as 'not false' would let a breach pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from acgs.constitution.document import Clause, Constitution, Operator, Rule
from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError, UnavailableError
from acgs.policy.engine import ClauseReason, RuleInput, RuleViolation


class _Absent:
    __slots__ = ()


ABSENT: Final = _Absent()


@cache
def _parts(path: str) -> tuple[str, ...]:
    """The keys of a dotted path of a rule."""
    return tuple(path.split("."))


def lookup(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or `ABSENT`."""
    value: Any = document
    for part in _parts(path):
        # A plain dictionary is what nearly all requests hold; asking whether it is a Mapping costs ten times as much.
        if not isinstance(value, dict) and not isinstance(value, Mapping):
            return ABSENT
        value = value.get(part)
        if value is None:
            return ABSENT
    return value


def holds(clause: Clause, document: Mapping[str, Any]) -> bool:
    """Whether one condition is true of the document."""
    value = lookup(document, clause.field)
    if clause.op is Operator.MISSING:
        return value is ABSENT
    if clause.op is Operator.NE:
        return value is ABSENT or value != clause.value
    if value is ABSENT:
        return False
    match clause.op:
        case Operator.EQ:
            return bool(value == clause.value)
        case Operator.LT:
            return bool(value < clause.value)
        case Operator.LE:
            return bool(value <= clause.value)
        case Operator.GT:
            return bool(value > clause.value)
        case Operator.GE:
            return bool(value >= clause.value)
        case _:
            return isinstance(clause.value, list) and value in clause.value


def violation_of(rule: Rule) -> RuleViolation:
    """The violation a breached rule reports."""
    clauses = tuple(ClauseReason(clause.field, clause.op.value, clause.value) for clause in rule.when)
    return RuleViolation(rule.id, rule.principle, rule.severity.value, rule.message, clauses)


def breached(rules: list[Rule], document: Mapping[str, Any]) -> list[Rule]:
    """The rules whose every clause holds."""
    return [rule for rule in rules if all(holds(clause, document) for clause in rule.when)]


LARGEST_NUMBER: Final = 2**53
"""Numbers beyond it differ from parser to parser (RFC 7493, section 2.2); rego-cpp takes 2**63 for undefined."""

_KINDS: Final[dict[str, tuple[type, ...]]] = {"boolean": (bool,), "number": (int, float), "string": (str,)}


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "string"


def _is_a(kind: str, value: Any) -> bool:
    return isinstance(value, _KINDS[kind]) and not (kind == "number" and isinstance(value, bool))


class FieldTypes:
    """The type each rule field must have, worked out from the values that rules compare it with."""

    def __init__(self, constitution: Constitution) -> None:
        self._by_scope: dict[str, dict[str, str]] = {}
        for rule in constitution.rules:
            kinds = self._by_scope.setdefault(rule.scope, {})
            for clause in rule.when:
                if clause.value is None:
                    continue
                sample = clause.value[0] if isinstance(clause.value, list) else clause.value
                kinds[clause.field] = _kind_of(sample)

    def check(self, request: RuleInput) -> None:
        """Refuse a request with a field of the wrong type, or a number that engines would read differently.

        Raises:
            InvalidInputError: naming the field and what it must be.
        """
        document = request.document()
        for scope in request.scopes:
            for path, kind in self._by_scope.get(scope, {}).items():
                value = lookup(document, path)
                if value is ABSENT:
                    continue
                if not _is_a(kind, value):
                    raise InvalidInputError(f"{path} must be a {kind}", field=path)
                # 'Not a number' fails every comparison, so it would pass every limit.
                if kind == "number" and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
                    raise InvalidInputError(f"{path} must be a finite number of at most 2**53", field=path)


class ClauseEngine:
    """The clause rules without any policy language: the fallback when the configured engine is down."""

    name = "clauses"

    def __init__(self, constitution: LockedConstitution) -> None:
        self.policy_version = constitution.digest
        document = constitution.document
        self._uncovered = {module.scope for module in document.rego}
        self._rules: dict[str, list[Rule]] = {}
        for rule in document.rules:
            self._rules.setdefault(rule.scope, []).append(rule)

    def evaluate(self, request: RuleInput) -> list[RuleViolation]:
        """See `RuleEngine.evaluate`.

        Raises:
            UnavailableError: a scope has hand-written Rego, which this engine cannot run.
        """
        uncovered = self._uncovered.intersection(request.scopes)
        if uncovered:
            raise UnavailableError(f"scopes {sorted(uncovered)} hold Rego modules that need the Rego engine")
        document = request.document()
        found = [rule for scope in request.scopes for rule in breached(self._rules.get(scope, []), document)]
        return sorted((violation_of(rule) for rule in found), key=lambda violation: violation.rule)


class RuleIndex:
    """Tells which rules can be breached at all by a document, so that the engine need not be asked about the others.

    As in OPA's rule indexing, a rule is out of reach if a field that it compares is absent (only `missing` and `ne`
    hold then) or is not equal to what the rule wants it to equal.
    """

    def __init__(self, constitution: Constitution) -> None:
        self._by_scope: dict[str, list[tuple[Rule, list[tuple[str, Any]]]]] = {}
        for rule in constitution.rules:
            needed = [
                (clause.field, clause.value if clause.op is Operator.EQ else ABSENT)
                for clause in rule.when
                if clause.op not in (Operator.MISSING, Operator.NE)
            ]
            self._by_scope.setdefault(rule.scope, []).append((rule, needed))

    def reachable(self, scopes: tuple[str, ...], document: Mapping[str, Any]) -> list[Rule]:
        """The rules that must be evaluated."""
        return [
            rule
            for scope in scopes
            for rule, needed in self._by_scope.get(scope, ())
            if all(_may_hold(lookup(document, path), wanted) for path, wanted in needed)
        ]


def _may_hold(value: Any, wanted: Any) -> bool:
    return value is not ABSENT and (wanted is ABSENT or value == wanted)
