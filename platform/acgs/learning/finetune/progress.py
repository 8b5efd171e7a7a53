"""Where a run stands, in a file that others may read at any time."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from acgs.files import write_atomic

_EVERY_SECONDS = 1.0


class Progress(BaseModel):
    """What a run tells while it works. None is not known (yet), or private."""

    model_config = ConfigDict(extra="forbid")

    phase: str
    progress: float = 0.0
    step: int = 0
    steps: int = 0
    loss: float | None = None
    compliance: float | None = None
    epsilon: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    message: str = ""


class ProgressFile:
    """Writes the latest progress, at most once a second unless told to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = -_EVERY_SECONDS

    def write(self, progress: Progress, *, now: bool = False) -> bool:
        """Whether it was written."""
        clock = time.monotonic()
        if not now and clock - self._written < _EVERY_SECONDS:
            return False
        write_atomic(self._path, progress.model_dump_json().encode())
        self._written = clock
        return True
