"""Settings of the models application, read once from the environment beside `acgs.settings.Settings`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from acgs.serving.watching import POLL_SECONDS
from acgs.settings import EnvironmentSettings


class ModelSettings(EnvironmentSettings):
    """Where versions come from, and how long anything may take."""

    model_folder: Path | None = Field(
        None,
        alias="ACGS_MODEL_FOLDER",
        description="versions as plain folders <model>/<version>; default: the registry",
    )
    poll_seconds: float = Field(
        POLL_SECONDS, alias="ACGS_MODEL_POLL_SECONDS", gt=0, le=10, description="a flip takes effect within this"
    )
    timeout_seconds: float = Field(30.0, alias="ACGS_MODEL_TIMEOUT_SECONDS", gt=0, description="of one prediction")
    load_timeout_seconds: float = Field(
        600.0, alias="ACGS_MODEL_LOAD_TIMEOUT_SECONDS", gt=0, description="of a new replica, for all its versions"
    )
    max_body_bytes: int = Field(4 * 1024 * 1024, alias="ACGS_MAX_MODEL_BODY_BYTES", ge=1)
    requests_per_second: float = Field(
        1000.0, alias="ACGS_MODEL_REQUESTS_PER_SECOND", gt=0, description="of one caller, at one router replica"
    )
    request_burst: int = Field(2000, alias="ACGS_MODEL_REQUEST_BURST", ge=1, description="so many at once")
    outcome_days: float = Field(
        7.0, alias="ACGS_MODEL_OUTCOME_DAYS", gt=0, description="how long outcome windows are kept"
    )
