"""Reading a request's free-form context: every scalar with its JSON pointer (RFC 6901), bounded in depth and number.

Nothing here raises on the caller's data. What could not be read is listed, so that a check can report it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 16
MAX_NODES = 2000


@dataclass(frozen=True, slots=True)
class ContextValue:
    """One scalar of the context: its pointer, the folded key nearest above it, and the value."""

    pointer: str
    key: str
    value: str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class ContextScan:
    """All scalars in document order, every folded key that holds something, and problems as `pointer: what`."""

    values: list[ContextValue]
    keys: set[str]
    problems: list[str]

    def first(self, keys: frozenset[str]) -> ContextValue | None:
        """The first scalar under one of `keys`."""
        return next((value for value in self.values if value.key in keys), None)

    def all(self, keys: frozenset[str]) -> list[ContextValue]:
        """Every scalar under one of `keys`."""
        return [value for value in self.values if value.key in keys]

    def flag(self, keys: frozenset[str]) -> bool | None:
        """The boolean under one of `keys`; None where there is none or it is no boolean."""
        found = self.first(keys)
        return found.value if found is not None and isinstance(found.value, bool) else None


def fold_key(key: str) -> str:
    """Keys compare without case, spaces, hyphens and underscores: `Patient_Name` is `patientname`."""
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")


def scan_context(context: Mapping[str, Any]) -> ContextScan:
    """Walk `context` without recursion. List items carry the key of their list."""
    if not isinstance(context, Mapping):
        return ContextScan([], set(), ["/context: not an object"])
    values: list[ContextValue] = []
    keys: set[str] = set()
    problems: list[str] = []
    stack: list[tuple[str, str, Any, int]] = [("/context", "", context, 0)]
    visited = 0
    while stack:
        pointer, key, node, depth = stack.pop()
        visited += 1
        if visited > MAX_NODES:
            problems.append(f"/context: more than {MAX_NODES} values; the rest was not read")
            break
        if node is None or isinstance(node, str | bool | int | float):
            values.append(ContextValue(pointer, key, node))
        elif depth >= MAX_DEPTH:
            problems.append(f"{pointer}: deeper than {MAX_DEPTH} levels; not read")
        elif isinstance(node, Mapping):
            children = []
            for name, child in node.items():
                folded = fold_key(str(name))
                if not (child is None or child is False or child == ""):
                    keys.add(folded)
                children.append((f"{pointer}/{_escape(str(name))}", folded, child, depth + 1))
            stack.extend(reversed(children))
        elif isinstance(node, list | tuple):
            stack.extend((f"{pointer}/{place}", key, node[place], depth + 1) for place in range(len(node) - 1, -1, -1))
        else:
            problems.append(f"{pointer}: {type(node).__name__} is no JSON value; not read")
    return ContextScan(values, keys, problems)


def string_list(context: Mapping[str, Any], key: str) -> list[str] | None:
    """The strings in the list under `key`; None where the key is missing or holds something else."""
    found = context.get(key) if isinstance(context, Mapping) else None
    if not isinstance(found, list | tuple) or not all(isinstance(item, str) for item in found):
        return None
    return list(found)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name
