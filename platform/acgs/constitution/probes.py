"""Boundary probes: for every rule a document that breaches it, and documents that just do not.

Numbers lie on the threshold itself or one step beside it, which is where two engines would disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from acgs.constitution.document import Clause, Constitution, Operator, Rule

_STEP: Final = 0.0001
"""Four places, the finest that Cedar's decimal can hold."""
_BESIDE: Final = {Operator.LT: -1, Operator.LE: 1, Operator.GT: 1, Operator.GE: -1}
"""The side of the threshold on which the boundary value's opposite lies."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One document to judge. `clause` is the number of the clause that was made false; None: all hold."""

    rule: str
    clause: int | None
    scopes: tuple[str, ...]
    document: dict[str, dict[str, Any]]


def _beside(value: Any, direction: int) -> float:
    step = 1 if isinstance(value, int) else _STEP
    moved: float = round(value + direction * step, 4)
    return moved


def holding_value(clause: Clause) -> Any:
    """A value that makes the clause true, at the boundary; None leaves the field out."""
    match clause.op:
        case Operator.MISSING | Operator.NE:
            return None
        case Operator.IN:
            return clause.value[0] if isinstance(clause.value, list) and clause.value else None
        case Operator.LT | Operator.GT:
            return _beside(clause.value, _BESIDE[clause.op])
        case _:
            return clause.value


def failing_value(clause: Clause, present: Any = "present") -> Any:
    """A value that makes the clause false, at the boundary; None leaves the field out.

    Args:
        present: what a field that may not be missing is filled with.
    """
    value = clause.value
    match clause.op:
        case Operator.MISSING:
            return present
        case Operator.EQ if isinstance(value, bool):
            return not value
        case Operator.EQ | Operator.IN:
            return None
        case Operator.LE | Operator.GE:
            return _beside(value, _BESIDE[clause.op])
        case _:
            return value


def place(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at a dotted path, or take it out where `value` is None."""
    *parents, leaf = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    if value is None:
        document.pop(leaf, None)
    else:
        document[leaf] = value


def _document(rule: Rule) -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = {"context": {}, "input_data": {}, "facts": {}}
    for clause in rule.when:
        place(document, clause.field, holding_value(clause))
    return document


def scopes_of(rule: Rule) -> tuple[str, ...]:
    """The scopes that a request which can breach the rule is judged in."""
    return ("common",) if rule.scope == "common" else ("common", rule.scope)


def probes(constitution: Constitution) -> Iterator[Probe]:
    """For each rule the breach, and for each of its clauses the same document with that one clause false."""
    compared = [clause for rule in constitution.rules for clause in rule.when if clause.value is not None]
    samples = {c.field: c.value[-1] if isinstance(c.value, list) else c.value for c in compared if c.value != []}
    for rule in constitution.rules:
        yield Probe(rule.id, None, scopes_of(rule), _document(rule))
        for number, clause in enumerate(rule.when):
            document = _document(rule)
            place(document, clause.field, failing_value(clause, samples.get(clause.field, "present")))
            yield Probe(rule.id, number, scopes_of(rule), document)
