"""A labelled text, whatever its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text with the principles it breaches; `group` keeps near-copies on one side of a split."""

    text: str
    breaches: tuple[str, ...]
    group: str
    slice_name: str = ""

    @classmethod
    def of(cls, text: str, breaches: Iterable[str], *, group: str, slice_name: str = "") -> Self:
        """Build one, with repeated principles dropped and order kept."""
        return cls(text, tuple(dict.fromkeys(breaches)), group, slice_name)

    @property
    def violates(self) -> bool:
        """Whether any principle is breached."""
        return bool(self.breaches)
