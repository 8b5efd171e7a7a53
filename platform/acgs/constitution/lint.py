"""What a schema cannot see: rules that can never be breached, parts nothing uses, engines that disagree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from statistics import median
from typing import Final

from acgs.constitution.document import Clause, Constitution, Operator, Rule, Scalar
from acgs.constitution.judging import Judge
from acgs.constitution.probes import probes
from acgs.errors import AcgsError

_WEIGHT_RATIO: Final = 10.0
"""A principle that weighs this many times more or less than the median drowns the others or is drowned."""

_UPPER: Final = (Operator.LT, Operator.LE)
_LOWER: Final = (Operator.GT, Operator.GE)


class Level(StrEnum):
    """An error keeps a constitution from being used; a warning asks for a second look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about one part of the document, named by its dotted path."""

    level: Level
    where: str
    message: str


def lint(constitution: Constitution) -> list[Finding]:
    """Everything that can be said from the document alone; errors first."""
    found = [
        *_principles(constitution),
        *_weights(constitution),
        *_scopes(constitution),
        *_contradictions(constitution),
        *_duplicates(constitution),
        *_field_types(constitution),
    ]
    return sorted(found, key=lambda finding: finding.level)


def _error(where: str, message: str) -> Finding:
    return Finding(Level.ERROR, where, message)


def _warning(where: str, message: str) -> Finding:
    return Finding(Level.WARNING, where, message)


def _principles(constitution: Constitution) -> Iterator[Finding]:
    ruled = {rule.principle for rule in constitution.rules}
    scored = set(constitution.core_principle_ids)
    for principle in constitution.principles:
        where = f"principles.{principle.id}"
        if principle.id not in ruled and principle.id not in scored:
            yield _error(where, "nothing can breach it: no rule names it, and text is scored for core principles only")
        if principle.critique_request == principle.revision_request:
            yield _error(where, "critique and revision requests are the same text")
    for field in ("text", "critique_request", "revision_request"):
        for text, count in Counter(getattr(principle, field) for principle in constitution.principles).items():
            if count > 1:
                names = [principle.id for principle in constitution.principles if getattr(principle, field) == text]
                yield _warning(f"principles.{names[-1]}.{field}", f"shared by {', '.join(names)}")


def _weights(constitution: Constitution) -> Iterator[Finding]:
    middle = median(principle.weight for principle in constitution.principles)
    for principle in constitution.principles:
        ratio = principle.weight / middle
        if not 1 / _WEIGHT_RATIO <= ratio <= _WEIGHT_RATIO:
            yield _warning(f"principles.{principle.id}.weight", f"{ratio:g} times the median weight {middle:g}")


def _scopes(constitution: Constitution) -> Iterator[Finding]:
    used = {rule.scope for rule in constitution.rules} | {module.scope for module in constitution.rego}
    for action in constitution.actions:
        if action not in used:
            yield _error(f"actions.{action}", "no rule judges this action, so it would always be allowed")
    for name, profile in constitution.domains.items():
        if name != "general" and name not in used and not profile.principles:
            yield _warning(f"domains.{name}", "no rule and no principle of its own; it differs in thresholds alone")


def contradiction(clauses: list[Clause]) -> str | None:
    """Why clauses over one field can never hold together, or None if they can."""
    absent_too = all(clause.op in (Operator.MISSING, Operator.NE) for clause in clauses)
    if absent_too:
        return None
    if any(clause.op is Operator.MISSING for clause in clauses):
        return "asked to be both absent and present"
    allowed: list[Scalar] | None = None
    for clause in clauses:
        if clause.op in (Operator.EQ, Operator.IN):
            values = [item for item in _values(clause) if allowed is None or item in allowed]
            allowed = values
    excluded = [item for clause in clauses if clause.op is Operator.NE for item in _values(clause)]
    bounds = [clause for clause in clauses if clause.op in _UPPER + _LOWER]
    if allowed is not None:
        left = [item for item in allowed if item not in excluded and all(_within(item, bound) for bound in bounds)]
        return None if left else "no value meets all its clauses"
    return _empty_interval(bounds)


def _values(clause: Clause) -> list[Scalar]:
    value = clause.value
    return [] if value is None else value if isinstance(value, list) else [value]


def _within(value: Scalar, bound: Clause) -> bool:
    limit = bound.value
    if isinstance(value, str) or not isinstance(limit, int | float):
        return False
    match bound.op:
        case Operator.LT:
            return value < limit
        case Operator.LE:
            return value <= limit
        case Operator.GT:
            return value > limit
        case _:
            return value >= limit


def _empty_interval(bounds: list[Clause]) -> str | None:
    for one, other in combinations(bounds, 2):
        upper, lower = (one, other) if one.op in _UPPER else (other, one)
        if upper.op not in _UPPER or lower.op not in _LOWER:
            continue
        high, low = upper.value, lower.value
        if not isinstance(high, int | float) or not isinstance(low, int | float):
            continue
        touching = upper.op is Operator.LE and lower.op is Operator.GE
        if high < low or (high == low and not touching):
            return f"no number is {upper.op} {high} and {lower.op} {low}"
    return None


def _contradictions(constitution: Constitution) -> Iterator[Finding]:
    for rule in constitution.rules:
        by_field: dict[str, list[Clause]] = defaultdict(list)
        for clause in rule.when:
            by_field[clause.field].append(clause)
        for field, clauses in by_field.items():
            why = contradiction(clauses)
            if why is not None:
                yield _error(f"rules.{rule.id}", f"can never be breached: {field}: {why}")


def _clause_set(rule: Rule) -> frozenset[str]:
    return frozenset(clause.model_dump_json() for clause in rule.when)


def _duplicates(constitution: Constitution) -> Iterator[Finding]:
    for rule in constitution.rules:
        if len(_clause_set(rule)) < len(rule.when):
            yield _error(f"rules.{rule.id}.when", "states the same clause twice")
    for first, second in combinations(constitution.rules, 2):
        shared_scope = first.scope == second.scope or "common" in (first.scope, second.scope)
        if not shared_scope:
            continue
        one, other = _clause_set(first), _clause_set(second)
        if one == other:
            yield _error(f"rules.{second.id}", f"has the same clauses as {first.id}")
        elif one < other or other < one:
            narrow, wide = (second, first) if one < other else (first, second)
            yield _warning(f"rules.{narrow.id}", f"whatever breaches it breaches {wide.id} too")


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _field_types(constitution: Constitution) -> Iterator[Finding]:
    """A field has one type in all the scopes a request can be judged in; a leaf is nobody's parent."""
    kinds: dict[str, set[str]] = defaultdict(set)
    users: dict[str, list[str]] = defaultdict(list)
    for rule in constitution.rules:
        for clause in rule.when:
            kinds[clause.field].update(_kind(value) for value in _values(clause))
            users[clause.field].append(rule.id)
    for field, found in kinds.items():
        where = f"rules.{users[field][-1]}"
        if len(found) > 1:
            yield _error(
                where, f"{field} is compared as {' and as '.join(sorted(found))} (by {', '.join(users[field])})"
            )
        parents = [other for other in kinds if field.startswith(f"{other}.")]
        if parents:
            yield _error(where, f"{field} lies inside {parents[0]}, which rules read as a value")


def lint_engines(constitution: Constitution, judges: Mapping[str, Judge], oracle: str) -> list[Finding]:
    """Compare engines with the oracle on the boundary probes of every rule.

    Args:
        judges: the engines by name; `oracle` is one of them.
    """
    found: list[Finding] = []
    unheard = set()
    for probe in probes(constitution):
        answers: dict[str, list[str]] = {}
        for name, judge in judges.items():
            try:
                answers[name] = sorted(judge(probe.scopes, probe.document))
            except AcgsError as error:
                unheard.add((name, error.message))
        expected = answers.get(oracle)
        if expected is None:
            continue
        if probe.clause is None and probe.rule not in expected:
            found.append(_error(f"rules.{probe.rule}", f"is not breached by the context made to breach it ({oracle})"))
        which = "the breaching context" if probe.clause is None else f"the near-miss of clause {probe.clause}"
        found += [
            _error(f"rules.{probe.rule}", f"{name} answers {answer} where {oracle} answers {expected}, for {which}")
            for name, answer in answers.items()
            if answer != expected
        ]
    found += [_warning(f"engines.{name}", message) for name, message in sorted(unheard)]
    return found
