"""What a training job says about itself while it runs: the file `progress.json`, replaced atomically by the job."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PROGRESS_FILE: Final = "progress.json"


class Progress(BaseModel):
    """How far a job is. None means that a figure has not been measured."""

    # A job of a later version may say more; a session must stay readable then.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    phase: str
    progress: float = Field(ge=0, le=1)
    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    loss: float | None = None
    compliance: float | None = Field(None, ge=0, le=1)
    epsilon: float | None = Field(None, ge=0)
    tokens_per_second: float | None = Field(None, ge=0)
    eta_seconds: float | None = Field(None, ge=0)
    message: str = ""
    updated_at: datetime | None = Field(None, description="when the file was written, UTC")


def read_progress(output: Path) -> Progress | None:
    """The progress in a job's output folder; None while there is none that can be read."""
    try:
        with (output / PROGRESS_FILE).open("rb") as handle:
            written = datetime.fromtimestamp(os.fstat(handle.fileno()).st_mtime, UTC)
            return Progress.model_validate_json(handle.read()).model_copy(update={"updated_at": written})
    except (OSError, ValidationError):
        return None
