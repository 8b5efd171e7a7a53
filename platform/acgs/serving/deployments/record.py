"""A deployment: one version on its way into the live slot, or back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acgs.audit.receipts import Digest, Instant, Name
from acgs.registry.semver import ModelName
from acgs.serving.routing import SemVer, Slot


class DeploymentStatus(StrEnum):
    """How far a deployment is; names as published."""

    PENDING = "pending"
    VALIDATING = "validating"
    STAGING = "staging"
    PROMOTING = "promoting"
    DEPLOYED = "deployed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class Stage(StrEnum):
    """What a deployment is doing now."""

    LOADING = "loading"
    """The idle slot loads the version and proves that it answers."""
    RAMPING = "ramping"
    """A share of the traffic goes to it, and is judged."""
    WATCHING = "watching"
    """It answers everything; a breach still brings the one before back."""
    OVER = "over"


class DeploymentKind(StrEnum):
    """Which way a deployment goes."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Percent = Annotated[int, Field(ge=1, le=100)]
Seconds = Annotated[float, Field(ge=0)]


class RampPlan(_Part):
    """How a version comes to all of the traffic, and what sends it back."""

    steps: tuple[Percent, ...] = Field((10, 50, 100), description="percent of the callers, rising to 100")
    observe_seconds: Seconds = Field(60.0, description="each step below 100 lasts at least so long")
    minimum_requests: int = Field(50, ge=1, description="answered by the candidate before a step is judged to be good")
    give_up_seconds: Seconds = Field(3600.0, description="a step without enough requests goes back after so long")
    load_seconds: Seconds = Field(600.0, description="a slot that is not ready by then has failed")
    watch_seconds: Seconds = Field(1800.0, description="after the last step")
    error_margin: float = Field(0.05, ge=0, lt=1, description="more errors than the version before: this is too many")
    slower_factor: float = Field(1.25, ge=1, description="a request counts as slower if it takes so many times as long")
    slower_seconds: Seconds = Field(0.005, description="and so much longer")
    slow_share: float = Field(0.25, gt=0.05, lt=1, description="watching: share of requests beyond the old p95 allowed")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="a step of a version that is no worse goes back this often")
    shadow: bool = Field(False, description="before the first step the candidate gets copies of all requests")

    @model_validator(mode="after")
    def _rises_to_all(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)) or not self.steps or self.steps[-1] != 100:
            raise ValueError("steps rise, and the last is 100")
        return self


class Reference(_Part):
    """How the version before did, frozen when the candidate took over."""

    requests: int = Field(ge=0)
    errors: int = Field(ge=0)
    p95_seconds: float | None = None


class Approval(_Part):
    """One person's consent to go on in spite of a document that does not say PASS.

    It counts with the token that proved who gave it, and the installation's signature (`acgs.release.approvals`).
    """

    actor: Name
    document: Digest
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    at: Instant
    token_id: str = Field("", max_length=256)
    signature: str = Field("", max_length=256, description="Ed25519, base64")


class EvidenceLink(_Part):
    """A signed document on which the deployment rests."""

    kind: Name
    digest: Digest
    verdict: Literal["PASS", "FAIL", "INSUFFICIENT"]


class Deployment(_Part):
    """The whole of it. `revision` counts changes; `number` counts deployments, in the order in which they began."""

    deployment_id: Name
    number: int = 0
    revision: int = 0
    kind: DeploymentKind
    model: ModelName
    version: SemVer
    baseline: SemVer | None = Field(None, description="what was live when it began, and comes back")
    slot: Slot
    status: DeploymentStatus
    stage: Stage
    plan: RampPlan = RampPlan()
    step: int = Field(0, ge=0, description="index into the plan's steps")
    stage_since: Instant
    reference: Reference | None = None
    evidence: tuple[EvidenceLink, ...] = ()
    approvals: tuple[Approval, ...] = ()
    requested_by: Name
    reason: str = Field("", max_length=2000)
    created_at: Instant
    updated_at: Instant

    @property
    def active(self) -> bool:
        """Whether it still moves."""
        return self.stage is not Stage.OVER

    @property
    def percent(self) -> int:
        """Share of the callers that the plan gives the candidate at this step."""
        return self.plan.steps[self.step] if self.stage is Stage.RAMPING else 0
