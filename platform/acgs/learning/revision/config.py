"""What a critique-revision run is asked to do; the command's options and the job's file are both this."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acgs.learning.revision.chain import Sampling
from acgs.learning.revision.critic import CERTAINTY
from acgs.learning.revision.export import Division
from acgs.learning.revision.loop import LoopSettings
from acgs.learning.revision.opening import HF, RETRIEVAL, GeneratorChoice
from acgs.learning.revision.run import BATCH

Positive = Annotated[int, Field(ge=1)]
ACTORS_BATCH: Final = 128
"""Rows revised together where actors share them: enough to keep many busy between two writes. The same for any number
of actors, since it decides which chats are padded together and with that the last bits of a score."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ActorSettings(_Part):
    """Copies of the generator's model on a cluster."""

    count: Positive = 1
    cpus: Positive = Field(1, description="CPUs and threads of each")
    gpus: float = Field(0, ge=0, description="GPUs of each; a half lets two share one")


class RevisionConfig(_Part):
    """A whole run."""

    data: Path = Field(description="a data set with prompts and responses")
    generator: str = Field(RETRIEVAL, description="retrieval, hf:FOLDER_OR_ID, or an endpoint's URL")
    model: str | None = Field(None, description="the endpoint's model")
    key_variable: str | None = Field(None, description="environment variable with the endpoint's key")
    corpus: Path | None = Field(
        None, description="data set whose compliant sentences retrieval uses; default: the data itself"
    )
    rounds: int = Field(3, ge=1, le=10)
    max_new_tokens: Positive = 512
    temperature: float = Field(0.7, ge=0)
    certainty: float = Field(CERTAINTY, ge=0, le=1)
    division: Division = "both"
    refusal_cap: float = Field(0.1, ge=0, le=1)
    seed: int = 0
    actors: ActorSettings | None = Field(None, description="run the generator's model in Ray actors")

    @model_validator(mode="after")
    def _actors_have_a_model(self) -> Self:
        if self.actors is not None and not self.generator.startswith(HF):
            raise ValueError("actors run a Hugging Face model; name the generator hf:FOLDER_OR_ID")
        return self

    @property
    def choice(self) -> GeneratorChoice:
        """The generator."""
        return GeneratorChoice(self.generator, model=self.model, key_variable=self.key_variable)

    @property
    def loop(self) -> LoopSettings:
        """What the chains depend on besides their parts."""
        sampling = Sampling(max_new_tokens=self.max_new_tokens, temperature=self.temperature)
        return LoopSettings(max_rounds=self.rounds, seed=self.seed, sampling=sampling)

    @property
    def batch(self) -> int:
        """Rows revised together, between two writes."""
        return BATCH if self.actors is None else ACTORS_BATCH
