"""Which versions' files may go: old enough, and needed by nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from acgs.registry.catalogue import Summary


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Files older than `age` go, but for the `keep_latest` highest versions of each model."""

    age: timedelta = timedelta(days=90)
    keep_latest: int = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a version's files stay, and why."""

    version: Summary
    stays: bool
    reason: str


def choose(
    versions: Sequence[Summary], in_use: Iterable[str], policy: RetentionPolicy, *, now: datetime
) -> list[Choice]:
    """Judge every version whose files are kept.

    A version that stays keeps the versions it needs: its parent, from which it may be told apart, and its base,
    without which it does not run.

    Args:
        versions: all, highest first within a model.
        in_use: references that are deployed, or that a rollback would bring back.
    """
    kept = [line for line in versions if line.removed_at is None]
    by_reference = {line.reference: line for line in kept}
    reasons = _reasons_to_stay(kept, set(in_use), policy, now)
    waiting = list(reasons)
    while waiting:
        line = by_reference[waiting.pop()]
        needed = [(f"{line.name}@{line.parent}", "parent") if line.parent else None, (line.base, "base")]
        for found, relation in [pair for pair in needed if pair]:
            if found in by_reference and found not in reasons:
                reasons[found] = f"{relation} of {line.reference}, which stays"
                waiting.append(found)
    return [
        Choice(line, line.reference in reasons, reasons.get(line.reference, "old, and needed by nobody"))
        for line in kept
    ]


def _reasons_to_stay(
    kept: Sequence[Summary], in_use: set[str], policy: RetentionPolicy, now: datetime
) -> dict[str, str]:
    reasons: dict[str, str] = {}
    rank: dict[str, int] = {}
    for line in kept:
        rank[line.name] = rank.get(line.name, 0) + 1
        if line.held:
            reasons[line.reference] = "under legal hold"
        elif line.reference in in_use:
            reasons[line.reference] = "deployed, or what a rollback would bring back"
        elif now - datetime.fromisoformat(line.created_at) < policy.age:
            reasons[line.reference] = f"younger than {policy.age.days} days"
        elif rank[line.name] <= policy.keep_latest:
            reasons[line.reference] = f"among the latest {policy.keep_latest}"
    return reasons
