"""The whole chain of one row as data: what was said, criticised, revised, judged, and why it was dropped."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from acgs.learning.data.records import Message

Status = Literal["compliant", "revised", "dropped"]
DropReason = Literal[
    "no_response", "context_breach", "not_improved", "still_breaches", "leaked_prefix", "too_short", "too_similar"
]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sampling(_Part):
    """How a generator is sampled."""

    max_new_tokens: int = Field(512, ge=1)
    temperature: float = Field(0.7, ge=0)


class Critique(_Part):
    """What was asked and answered about one principle."""

    principle_id: str
    prompt: str
    response: str


class Verdict(_Part):
    """A judge's word on a response, without its text."""

    compliant: bool
    score: float
    principles: tuple[str, ...]
    rules: tuple[str, ...]


class Round(_Part):
    """One critique and revision. `improved` tells whether its revision was taken over."""

    round: int
    critiques: tuple[Critique, ...]
    revision_prompt: str
    revision_response: str
    before: Verdict
    after: Verdict
    improved: bool
    seconds: float
    """The batch's time, shared equally."""


class Chain(_Part):
    """One row of the result; its first columns are those of the public recipes of constitutional AI."""

    line: int
    input_sha256: Digest
    id: str
    group: str | None
    user: str | None
    status: Status
    drop_reason: DropReason | None

    init_prompt: str
    init_response: str
    """Empty where the row has none."""
    principle_id: str | None = None
    """The likeliest breach of the first round; all are in `rounds`."""
    critic_prompt: str | None = None
    critic_response: str | None = None
    revision_prompt: str | None = None
    revision_response: str | None = None
    """The best revision; None where none was made or none improved."""
    prompt: str
    messages: tuple[Message, ...] = ()
    chosen: tuple[Message, ...] = ()
    rejected: tuple[Message, ...] = ()

    rounds: tuple[Round, ...] = ()
    critic_before: Verdict | None = None
    critic_after: Verdict | None = None
    evaluator_before: Verdict | None = None
    evaluator_after: Verdict | None = None
    content_kept: float | None = None
    """Share of the content words of the response's compliant sentences that the result still has; None without any."""
    sentences_kept: float | None = None
    refusal_before: bool = False
    refusal_after: bool = False

    constitution_digest: Digest
    generator_id: str
    critic_id: str
    evaluator_id: str
    settings_digest: Digest
    sampling: Sampling
    seed: int
    seconds: float
    """The batch's time, shared equally."""
