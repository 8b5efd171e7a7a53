"""What came of a run, as data for the report, the model card and whoever asks."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from acgs.learning.finetune.checkpoints import LoopState
from acgs.learning.finetune.config import Phase


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PhaseOutcome(_Part):
    """One phase. `curve` is empty where losses are private."""

    kind: str
    method: str
    private: bool
    reason: str
    steps: int
    tokens: int
    seconds: float
    validation_perplexity: float | None
    curve: list[tuple[int, float, float]]
    compliance: list[tuple[int, float]]

    @classmethod
    def of(cls, phase: Phase, state: LoopState, reason: str, *, perplexity: float | None) -> Self:
        """From where the loop ended."""
        return cls(
            kind=phase.kind,
            method=phase.method,
            private=phase.private,
            reason=reason,
            steps=state.step,
            tokens=state.tokens,
            seconds=state.seconds,
            validation_perplexity=perplexity,
            curve=state.curve,
            compliance=state.compliance,
        )


class RunOutcome(_Part):
    """A whole run; `before` and `after` evaluate the base and the trained model on the same prompts and texts."""

    base: str
    trainable_parameters: int
    total_parameters: int
    phases: list[PhaseOutcome]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    seconds: float
    validation_seconds: float
