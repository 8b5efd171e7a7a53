"""What every domain check takes and gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Fact: TypeAlias = bool | float | str


@dataclass(frozen=True, slots=True)
class DomainViolation:
    """One requirement that is not met: rule id, reason in words, and where (JSON pointer into the request)."""

    rule: str
    reason: str
    field: str


@dataclass(slots=True)
class DomainFinding:
    """Outcome of one check: the callback's result object, violations, and facts for policy rules and trees."""

    callback: str
    result: dict[str, Json]
    violations: list[DomainViolation] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)


class DomainCheck(Protocol):
    """One regulated domain. `check` is deterministic, does no I/O and never raises on the caller's data."""

    @property
    def name(self) -> str:
        """Name of the domain, such as `healthcare`."""
        ...

    @property
    def callback(self) -> str:
        """Name of the callback whose result schema `check` fills, such as `hipaa_compliance`."""
        ...

    def check(self, query: str, context: Mapping[str, Any]) -> DomainFinding:
        """Judge one request."""
        ...


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement that applies to the request, whether it is met (None: not known), and what to do if not."""

    rule: str
    met: bool | None
    recommendation: str
    field: str = "/query"
    blocks: bool = False

    def violation(self) -> DomainViolation:
        """The violation that this requirement is when it blocks."""
        return DomainViolation(self.rule, self.recommendation, self.field)


def compliance_score(requirements: Sequence[Requirement]) -> float:
    """Share of the applicable requirements that are met, 0..1, rounded to 4 places.

    A requirement whose state is not known counts as not met. If none applies the score is 1.0; results carry
    `applicable: false` beside it, so that "nothing to check" is not read as "checked and good".
    """
    if not requirements:
        return 1.0
    return round(sum(requirement.met is True for requirement in requirements) / len(requirements), 4)


def recommendations(requirements: Iterable[Requirement]) -> list[Json]:
    """What to do about each requirement that is not met or not known, in order, once each."""
    return list(dict.fromkeys(need.recommendation for need in requirements if need.met is not True))


def blocking(requirements: Iterable[Requirement]) -> list[DomainViolation]:
    """Violations: requirements that block and are not known to be met. Not known fails closed."""
    return [need.violation() for need in requirements if need.blocks and need.met is not True]


def unread(problems: Sequence[str]) -> list[Requirement]:
    """The requirement that the whole request can be read: what was not looked at may hold anything, so it blocks."""
    if not problems:
        return []
    advice = "Send text and context within the limits, as plain JSON values, so that all of it can be examined."
    return [Requirement("request.readable", None, advice, problems[0].split(":")[0], blocks=True)]
