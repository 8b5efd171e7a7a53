"""A process that creates or collects, and is killed (kill -9) before or after one step of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any


def main(what: str, step: str, when: str, state: str, model: str) -> None:
    """Arrange the kill, and work until it comes."""
    _arrange(step, when)
    from acgs.constitution.source import load_locked
    from acgs.registry.collection import collect
    from acgs.registry.describing import describe
    from acgs.registry.opening import open_registry
    from acgs.registry.retention import RetentionPolicy
    from acgs.settings import Settings

    registry = open_registry(Settings(state_dir=Path(state)))
    if what == "create":
        registry.create("triage", Path(model), describe({"kind": "files"}), actor="mia", constitution=load_locked())
    else:
        now = datetime.now(UTC) + timedelta(days=400)
        collect(registry, RetentionPolicy(timedelta(0), 1), [], actor="gc", dry_run=False, now=now)


def _arrange(step: str, when: str) -> None:
    """Wrap the step, wherever it is used, so that the process dies there."""
    owner_name, name = step.rsplit(".", 1)
    owner: Any
    try:
        owner = import_module(owner_name)
    except ModuleNotFoundError:
        module, cls = owner_name.rsplit(".", 1)
        owner = getattr(import_module(module), cls)
    original: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)
    for module in list(sys.modules.values()):
        if getattr(module, name, None) is original:
            setattr(module, name, dying)


if __name__ == "__main__":
    main(*sys.argv[1:])
