"""Attempts at a document: each is counted before anything is measured, so that nobody tries for free.

The files count, not the version's name: the same files under a new name go on counting where they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from acgs.errors import AcgsError


class AttemptsSpentError(AcgsError):
    """As many attempts were made as the release policy allows."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody sets out to make a document of this kind about these files."""

    kind: str
    model: str
    version: str
    artifact_digest: str
    actor: str


class AttemptStore(Protocol):
    """Counts attempts. All raise `UnavailableError` if the store cannot be used."""

    def begin(self, attempt: Attempt, *, most: int, beside_since: str | None = None) -> int:
        """Take the lowest number from 1 that no other attempt has; two that begin together get two numbers.

        It is taken for good, whatever becomes of whoever took it, unless it is given back.

        Args:
            beside_since: attempts at other files of the model, begun from this instant on, have their numbers too;
                None: they count for themselves.

        Raises:
            AttemptsSpentError: `most` were made about the same files.
        """
        ...

    def give_back(self, attempt: Attempt, number: int, *, reason: str) -> None:
        """Nothing was measured, so that nothing was spent."""
        ...
