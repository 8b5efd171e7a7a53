from __future__ import annotations

import pytest

from acgs.cli import filtering, revision


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], str | None]]:
    """Jobs that data commands would have started: module, words, address."""
    started: list[tuple[str, list[str], str | None]] = []
    for module in (filtering, revision):
        monkeypatch.setattr(module, "run_job", lambda *call: started.append(call))
    return started
