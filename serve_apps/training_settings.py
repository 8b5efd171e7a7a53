"""Settings of the training service, read once from the environment beside `acgs.settings.Settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from acgs.settings import EnvironmentSettings, Fraction


class TrainingSettings(EnvironmentSettings):
    """What a deployment lets be trained, and how much of it at once."""

    training_dir: Path | None = Field(
        None, alias="ACGS_TRAINING_DIR", description="on a cluster: storage that every node sees; default: state folder"
    )
    base_models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), alias="ACGS_BASE_MODELS", description="folders (with / or ./ in front) and hub ids, by commas"
    )

    max_concurrent_sessions: int = Field(5, alias="MAX_CONCURRENT_SESSIONS", ge=1)
    max_queued_sessions: int = Field(20, alias="ACGS_MAX_QUEUED_SESSIONS", ge=0)
    max_training_seconds: float = Field(86_400, alias="ACGS_MAX_TRAINING_SECONDS", gt=0)
    max_body_bytes: int = Field(32 * 1024 * 1024, alias="ACGS_MAX_TRAINING_BODY_BYTES", ge=1)

    compliance_threshold: Fraction = Field(0.95, alias="COMPLIANCE_THRESHOLD")
    enable_differential_privacy: bool = Field(
        True, alias="ENABLE_DIFFERENTIAL_PRIVACY", description="for requests that do not say"
    )
    privacy_epsilon: float = Field(8.0, alias="PRIVACY_EPSILON", gt=0, description="default and upper bound")
    privacy_delta: float = Field(1e-5, alias="PRIVACY_DELTA", gt=0, lt=1, description="default and upper bound")

    @field_validator("base_models", mode="before")
    @classmethod
    def _by_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
