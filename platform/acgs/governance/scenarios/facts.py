"""Structured facts for scenarios: contexts that breach a rule, and near-misses that differ from it in one fact."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from acgs.constitution.document import Clause, Constitution, Operator, Rule

_NUMBER_STEP: Final = 0.25


def _holding_value(clause: Clause, rng: random.Random) -> Any:
    """A value that makes the clause true; None stands for 'leave the field out'."""
    value = clause.value
    match clause.op:
        case Operator.MISSING:
            return None
        case Operator.EQ:
            return value
        case Operator.NE:
            return (not value) if isinstance(value, bool) and rng.random() < 0.5 else None
        case Operator.IN:
            return rng.choice(value) if isinstance(value, list) else value
        case Operator.GE | Operator.LE:
            return _beyond(value, clause.op, rng) if rng.random() < 0.7 else value
        case _:
            return _beyond(value, clause.op, rng)


def _failing_value(clause: Clause, rng: random.Random) -> Any:
    """A value that makes the clause false."""
    value = clause.value
    match clause.op:
        case Operator.MISSING:
            return "on record"
        case Operator.EQ:
            return (not value) if isinstance(value, bool) else None
        case Operator.NE:
            return value
        case Operator.IN:
            return "merit"
        case Operator.GE:
            return _beyond(value, Operator.LT, rng)
        case Operator.GT:
            return value if rng.random() < 0.3 else _beyond(value, Operator.LT, rng)
        case Operator.LE:
            return _beyond(value, Operator.GT, rng)
        case _:
            return value if rng.random() < 0.3 else _beyond(value, Operator.GT, rng)


def _beyond(value: Any, op: Operator, rng: random.Random) -> Any:
    """A number on the side of `value` that `op` names; whole numbers stay whole."""
    distance = rng.randint(1, 8)
    if isinstance(value, int):
        shift: float = max(1, abs(value) // 8) * distance
    else:
        shift = round(max(abs(value), _NUMBER_STEP) * distance / 20, 4)
    moved = value + shift if op in (Operator.GT, Operator.GE) else value - shift
    return round(moved, 4)


def _put(context: dict[str, Any], clause: Clause, value: Any) -> None:
    *parents, leaf = clause.field.split(".")[1:]
    for parent in parents:
        context = context.setdefault(parent, {})
    if value is None:
        context.pop(leaf, None)
    else:
        context[leaf] = value


def usable_rules(constitution: Constitution, domain: str) -> list[Rule]:
    """Rules that a context alone can breach (others read facts that domain checks find in the text)."""
    rules = constitution.rules_in("common", domain)
    return [rule for rule in rules if all(clause.field.startswith("context.") for clause in rule.when)]


def breaching_context(rule: Rule, rng: random.Random) -> dict[str, Any]:
    """A context in which every clause of the rule holds."""
    return _context(rule, rng, _holding_value)


def near_miss_context(rule: Rule, rng: random.Random) -> dict[str, Any]:
    """A context that differs from a breach of the rule in exactly one clause."""
    context = _context(rule, rng, _holding_value)
    clause = rng.choice(rule.when)
    _put(context, clause, _failing_value(clause, rng))
    return context


def _context(rule: Rule, rng: random.Random, value_of: Callable[[Clause, random.Random], Any]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for clause in rule.when:
        _put(context, clause, value_of(clause, rng))
    return context
