"""A comparison: one common run, and the variants of it that are trained and measured side by side.

Each variant is an ordinary run. All have the same seed, base and held-out data; they differ in the data of their last
phase and in its privacy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acgs.learning.data.records import Record
from acgs.learning.finetune.config import Positive, PrivacySettings, RunConfig, check_settings, load_settings

PLAIN: Final = "sft"
REVISED: Final = "revised"
PRIVATE: Final = "dp-{epsilon:g}"

Epsilon = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PrivateChanges(_Part):
    """How the last phase differs in the private variants; what is not given is as in the common run."""

    data: Path | None = Field(None, description="data set to train on privately; default: the common run's")
    epochs: float | None = Field(None, gt=0)
    learning_rate: float | None = Field(None, gt=0)
    schedule: Literal["cosine", "linear", "polynomial", "constant"] | None = None
    warmup_steps: int | None = Field(None, ge=0)
    weight_decay: float | None = Field(None, ge=0)
    batch_size: Positive | None = None
    micro_batch_size: Positive | None = None


class Comparison(_Part):
    """A comparison file."""

    run: dict[str, Any] = Field(description="the common run, with the keys of a run file")
    sft: bool = Field(True, description="the common run as it stands is a variant")
    revised_data: Path | None = Field(None, description="data set of `acgs data revise` for the variant `revised`")
    epsilons: tuple[Epsilon, ...] = Field((), description="one private variant each: what it may spend by itself")
    private: PrivateChanges = PrivateChanges()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.sft or self.revised_data or self.epsilons):
            raise ValueError("there is nothing to compare; give sft, revised_data or epsilons")
        if len(set(self.epsilons)) != len(self.epsilons):
            raise ValueError("two epsilons are the same")
        phases = self.run.get("phases")
        if isinstance(phases, list) and any(isinstance(phase, dict) and phase.get("private") for phase in phases):
            raise ValueError("no phase of the common run is marked private; epsilons makes the private variants")
        privacy = self.run.get("privacy")
        if privacy is not None and not self.epsilons:
            raise ValueError("the common run has a privacy part, but there are no epsilons")
        if isinstance(privacy, dict) and "run_epsilon" in privacy:
            raise ValueError("run_epsilon is what epsilons says; leave it out")
        return self

    @property
    def name(self) -> str:
        """The common run's."""
        return str(self.run.get("name"))

    @property
    def budget(self) -> float | None:
        """What the private data may cost over all its runs; None where several variants spend and nobody said."""
        privacy = PrivacySettings.model_validate(self.run.get("privacy", {}))
        if "target_epsilon" in privacy.model_fields_set:
            return privacy.target_epsilon
        return self.epsilons[0] if len(self.epsilons) == 1 else None


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of a comparison; `epsilon` is what a private one may spend by itself."""

    name: str
    config: RunConfig
    epsilon: float | None = None


def load_comparison(path: Path) -> Comparison:
    """Read a comparison file. Relative paths in it are relative to the file.

    Raises:
        InvalidInputError: the file cannot be read, or a setting does not fit; it is named.
    """
    return load_settings(path, Comparison)


def derive_variants(comparison: Comparison, source: str) -> list[Variant]:
    """The runs of a comparison, those without privacy first, then from the largest epsilon down.

    Where no budget is given the private ones get one that binds none of them: `comparison_budget` refuses it.

    Raises:
        InvalidInputError: a variant is no run; `source`, the variant and the setting are named.
    """
    common = {key: value for key, value in comparison.run.items() if key != "privacy"}
    plain = check_settings(RunConfig, common, f"{source}, run")
    check_settings(PrivacySettings, comparison.run.get("privacy", {}), f"{source}, run.privacy")
    held_out = plain.evaluation.held_out or plain.phases[-1].data
    shared = {**common, "evaluation": {**common.get("evaluation", {}), "held_out": str(held_out)}}
    earlier, last = common["phases"][:-1], common["phases"][-1]

    def variant(name: str, phase: dict[str, Any], **more: Any) -> Variant:
        values = {**shared, "name": f"{plain.name}-{name}", "phases": [*earlier, {**last, **phase}], **more}
        config = check_settings(RunConfig, values, f"{source}, variant {name}")
        return Variant(name, config, config.privacy.run_epsilon if config.privacy else None)

    variants = [variant(PLAIN, {})] if comparison.sft else []
    if comparison.revised_data:
        variants.append(variant(REVISED, {"data": str(comparison.revised_data)}))
    changes = comparison.private.model_dump(mode="json", exclude_none=True)
    budget = comparison.budget or sum(comparison.epsilons)
    for epsilon in sorted(comparison.epsilons, reverse=True):
        privacy = {**comparison.run.get("privacy", {}), "target_epsilon": budget, "run_epsilon": epsilon}
        variants.append(variant(PRIVATE.format(epsilon=epsilon), {**changes, "private": True}, privacy=privacy))
    return variants


def leaked_prompts(train: Iterable[Record], held_out: Iterable[Record]) -> int:
    """How many held-out records ask (or, without a prompt, say) what a training record does."""
    seen = {_asked(record) for record in train}
    return sum(_asked(record) in seen for record in held_out)


def _asked(record: Record) -> tuple[str, ...]:
    return tuple(message.content for message in record.prompt) or (record.contents,)


def coverage(private: Sequence[str], exposed: Sequence[str]) -> str:
    """What is guaranteed, in one sentence.

    Args:
        private: names of the private variants.
        exposed: names of the variants that learned without privacy from the data that the private ones protect.
    """
    if not private:
        return "No variant was trained with differential privacy."
    if not exposed:
        return f"The guarantees cover {', '.join(private)}; whoever is given several is given what they spend together."
    return (
        f"The guarantees cover {', '.join(private)} alone: {', '.join(exposed)} learned without noise from the data "
        "that those protect, so neither the models nor what is read off them is covered."
    )
