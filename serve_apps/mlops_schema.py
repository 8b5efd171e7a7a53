"""Bodies of the mlops application's requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from acgs.registry.webhooks.subscription import Topic
from acgs.release.model_contract import ModelMargins
from acgs.release.model_evidence import TIMED_SECONDS
from acgs.release.staging.held_out import MAX_ROWS, HeldOutRow, repeats_an_id
from acgs.release.staging.limits import StagingLimits
from acgs.serving.deployments.record import RampPlan

Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _each_once(rows: list[HeldOutRow]) -> list[HeldOutRow]:
    if repeats_an_id(rows):
        raise ValueError("an id comes twice; each row is one measurement")
    return rows


Rows = Annotated[list[HeldOutRow], Field(min_length=1, max_length=MAX_ROWS), AfterValidator(_each_once)]


class StagingRequest(_Body):
    """Held-out rows, and limits other than the published ones."""

    rows: Rows
    limits: StagingLimits = StagingLimits()


class ContractRequest(_Body):
    """Held-out rows, margins, and guards that mean nothing here, each with the reason."""

    rows: Rows
    margins: ModelMargins = ModelMargins()
    waived: dict[str, Reason] = {}
    timed_seconds: float = Field(TIMED_SECONDS, ge=1, le=86_400, description="timing both takes at most so long")
    seed: int = Field(0, ge=0, le=2**32 - 1)


class PromotionRequest(_Body):
    """How the version comes to all of the traffic."""

    plan: RampPlan = RampPlan()
    end_watch: bool = False
    reason: str = Field("", max_length=2000, description="why, for the record; needed where it was taken back before")


class ReasonRequest(_Body):
    """Why, for the record."""

    reason: Reason


class WebhookRequest(_Body):
    """Where to send what."""

    url: Annotated[str, Field(max_length=2048)]
    topics: Annotated[list[Topic], Field(min_length=1)]
