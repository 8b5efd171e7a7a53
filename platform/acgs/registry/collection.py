"""Collecting: remove the files of versions that nobody needs, and what no version refers to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.registry import Registry
from acgs.registry.retention import Choice, RetentionPolicy, choose

REMOVED: Final = "model.files.removed"
GRACE: Final = timedelta(hours=24)
"""Younger files may belong to a version that is just being made."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What went, or would go: versions, and stored bytes that no version refers to."""

    choices: tuple[Choice, ...]
    versions: int
    chunks: int
    stored_bytes: int
    dry_run: bool


def collect(
    registry: Registry,
    policy: RetentionPolicy,
    in_use: Iterable[str],
    *,
    actor: str,
    dry_run: bool = True,
    grace: timedelta = GRACE,
    now: datetime | None = None,
) -> Collected:
    """Apply a retention policy.

    First the versions are marked, each with its event, then the chunks go that no version refers to any more. A crash
    between the two leaves chunks that the next run removes; never a version without its chunks.

    Args:
        in_use: references that are deployed, or that a rollback would bring back.

    Raises:
        IntegrityError: a manifest cannot be read, so that nobody knows what is needed; nothing is removed.
    """
    now = now or datetime.now(UTC)
    choices = choose(registry.find(), in_use, policy, now=now)
    going = [choice.version for choice in choices if not choice.stays]
    registry.manifests()
    versions = len(going)
    if not dry_run:
        reasons = {choice.version.reference: choice.reason for choice in choices}

        def event(name: str, version: str) -> LifecycleEvent:
            return LifecycleEvent(REMOVED, actor, name, version, {"reason": reasons[f"{name}@{version}"]})

        versions = registry.catalogue.remove_files([(line.name, line.version) for line in going], event)
        registry.carry_over()
    gone = {line.reference for line in going}
    kept = [manifest for reference, manifest in registry.manifests().items() if reference not in gone]
    unreferenced = list(registry.artifacts.unreferenced(kept, older_than=grace, now=now))
    if not dry_run:
        registry.artifacts.remove(unreferenced)
    return Collected(tuple(choices), versions, len(unreferenced), sum(found.size for found in unreferenced), dry_run)
