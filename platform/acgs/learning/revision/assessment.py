"""What a critic or an evaluator says of a response; two judges behind one interface that must not be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from acgs.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Case:
    """A response to be judged."""

    response: str
    domain: str = "general"
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence that breaches, by its place in the response."""

    start: int
    end: int
    principles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict on a response."""

    compliant: bool
    score: float
    """1 where nothing speaks against it, 0 where a breach is certain."""
    principles: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    context_rules: tuple[str, ...] = ()
    """Rules that the context breaches by itself; no rewording repairs them."""


class Judge(Protocol):
    """Judges responses against the constitution."""

    @property
    def identity(self) -> str:
        """What judges, with its version."""

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        """One assessment a case, in order.

        Raises:
            InvalidInputError: unknown domain, or a context field of the wrong type.
            UnavailableError: it cannot judge; nothing is passed unjudged.
        """


def require_independent(critic: Judge, evaluator: Judge) -> None:
    """
    Raises:
        InvalidInputError: the evaluator is the critic, so its verdict would be the critic's own.
    """
    if evaluator is critic or evaluator.identity == critic.identity:
        raise InvalidInputError(
            "the evaluator is the critic itself; name another, so that it is independent", field="evaluator"
        )
