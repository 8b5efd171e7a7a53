"""A process that creates, collects or wraps keys anew, and is killed (kill -9) before or after one step of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.killing import die_at


def main(what: str, step: str, when: str, state: str, model: str) -> None:
    """Arrange the kill, and work until it comes."""
    die_at(step, when)
    from acgs.constitution.source import load_locked
    from acgs.registry.collection import collect
    from acgs.registry.describing import describe
    from acgs.registry.opening import open_registry
    from acgs.registry.retention import RetentionPolicy
    from acgs.registry.rewrapping import rewrap
    from acgs.settings import Settings

    registry = open_registry(Settings(state_dir=Path(state)))
    if what == "create":
        registry.create("triage", Path(model), describe({"kind": "files"}), actor="mia", constitution=load_locked())
    elif what == "rewrap":
        rewrap(registry, actor="ada", dry_run=False)
    else:
        now = datetime.now(UTC) + timedelta(days=400)
        collect(registry, RetentionPolicy(timedelta(0), 1), [], actor="gc", dry_run=False, now=now)


if __name__ == "__main__":
    main(*sys.argv[1:])
