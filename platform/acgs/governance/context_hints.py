"""Context fields that no rule reads although they look as if one should: misspelt, nested, or written otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rapidfuzz import fuzz, process

_PREFIX: Final = "context."
_ALIKE: Final = 85.0
"""Similarity in percent from which a name is taken for a slip."""
_MOST_COMPARED: Final = 64
"""Unknown names of a request that are looked at."""
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class ContextHints:
    """Knows the fields that rules read."""

    def __init__(self, fields: Iterable[str]) -> None:
        """`fields` as rules name them, such as `context.transaction_amount`."""
        self._known = frozenset(field.removeprefix(_PREFIX) for field in fields if field.startswith(_PREFIX))
        self._parents = frozenset(
            ".".join(parts[:end]) for parts in map(_split, self._known) for end in range(1, len(parts))
        )
        self._leaves = {_split(field)[-1]: field for field in sorted(self._known, reverse=True)}

    def hints(self, context: Mapping[str, Any]) -> list[str]:
        """One sentence a field that was probably meant to be another, in the order of the context."""
        found: list[str] = []
        for number, (path, name) in enumerate(self._unknown(context, ())):
            if number == _MOST_COMPARED:
                break
            plain = _HUMP.sub("_", name).lower().replace("-", "_").replace(" ", "_")
            match = process.extractOne(plain, self._leaves.keys(), scorer=fuzz.ratio, score_cutoff=_ALIKE)
            if match:
                meant = self._leaves[match[0]]
                found.append(f"No rule reads 'context.{path}'. If it is meant to be 'context.{meant}', name it so.")
        return found

    def _unknown(self, value: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for name, inner in value.items():
            path = (*above, name)
            dotted = ".".join(path)
            if dotted in self._known:
                continue
            if isinstance(inner, Mapping):
                yield from self._unknown(inner, path)
            elif dotted not in self._parents:
                yield dotted, name


def _split(field: str) -> list[str]:
    return field.split(".")
