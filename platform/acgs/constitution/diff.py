"""What changed between two constitutions, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from acgs.constitution.canonical import digest
from acgs.constitution.document import Constitution

_KEYS = {"principles": "id", "rules": "id", "rego": "name"}
"""Lists whose items have a name: they are compared by it, not by position."""


class ChangeKind(StrEnum):
    """What happened to a field."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REORDERED = "reordered"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `path` is dotted, as in `rules.AML-01.when.0.value`."""

    path: str
    kind: ChangeKind
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two documents compared. They behave alike if and only if their digests are the same."""

    digest_before: str
    digest_after: str
    changes: tuple[Change, ...]

    @property
    def behaviour_changes(self) -> bool:
        """Whether the lock, and every guard bundle trained under it, has to follow."""
        return self.digest_before != self.digest_after


def compare(before: Constitution, after: Constitution) -> Difference:
    """Every field that differs, in the order of the document."""
    changes = _compare(before.model_dump(mode="json"), after.model_dump(mode="json"), "")
    return Difference(digest(before), digest(after), tuple(changes))


def _compare(before: Any, after: Any, path: str) -> Iterator[Change]:
    key = _KEYS.get(path)
    if key is not None:
        yield from _compare_named(before, after, path, key)
    elif isinstance(before, dict) and isinstance(after, dict):
        yield from _compare_mappings(before, after, path)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _compare(old, new, f"{path}.{number}")
    elif type(before) is not type(after) or before != after:
        yield Change(path, ChangeKind.CHANGED, before, after)


def _compare_mappings(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        where = f"{path}.{name}" if path else name
        if name not in after:
            yield Change(where, ChangeKind.REMOVED, before=before[name])
        elif name not in before:
            yield Change(where, ChangeKind.ADDED, after=after[name])
        else:
            yield from _compare(before[name], after[name], where)


def _compare_named(before: list[Any], after: list[Any], path: str, key: str) -> Iterator[Change]:
    old, new = ({item[key]: item for item in items} for items in (before, after))
    yield from _compare_mappings(old, new, path)
    kept_before, kept_after = [name for name in old if name in new], [name for name in new if name in old]
    if kept_before != kept_after:
        yield Change(path, ChangeKind.REORDERED, kept_before, kept_after)
