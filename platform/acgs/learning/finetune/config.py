"""The run file: everything that determines a training run. Unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acgs.errors import InvalidInputError

ParallelKind = Literal["all_reduce", "ddp", "fsdp"]
Positive = Annotated[int, Field(ge=1, le=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TinyModel(_Part):
    """A Llama-style model with random weights, for trying a run out. Its tokenizer is trained on `corpus`."""

    corpus: Path = Field(description="public text or records; never the private data of a run with privacy")
    hidden_size: int = Field(128, ge=8, le=8192)
    layers: int = Field(4, ge=1, le=128)
    heads: int = Field(4, ge=1, le=128)
    vocabulary: int = Field(2048, ge=300, le=300_000)
    context: int = Field(512, ge=8, le=1_000_000)
    seed: Seed = 0

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError("hidden_size must be an even multiple of heads")
        return self


class BaseModelConfig(_Part):
    """Where the base comes from: a directory, a hub id that may be downloaded, or a tiny model made here."""

    path: Path | None = None
    hub: str | None = Field(None, description="downloaded only because it is named here")
    tiny: TinyModel | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.path, self.hub, self.tiny)) != 1:
            raise ValueError("give exactly one of path, hub and tiny")
        return self


class LoraSettings(_Part):
    """LoRA (Hu et al. 2021, arXiv:2106.09685) through PEFT."""

    r: int = Field(16, ge=1, le=4096)
    alpha: Positive = 32
    dropout: float = Field(0.1, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = ATTENTION_PROJECTIONS
    dora: bool = False
    rslora: bool = False
    freeze_a: bool = Field(False, description="FFA-LoRA: train B alone, which halves what is trained and noised")


class Phase(_Part):
    """One pass of training: continued pre-training on text (`dapt`) or fine-tuning on answers (`sft`)."""

    kind: Literal["dapt", "sft"]
    data: Path = Field(description="a data set of `acgs data import` with the splits train and validation")
    method: Literal["lora", "full"] = "lora"
    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(2e-4, gt=0)
    schedule: Literal["cosine", "linear", "polynomial", "constant"] = "cosine"
    warmup_steps: int = Field(0, ge=0, le=2**31)
    weight_decay: float = Field(0.0, ge=0)
    batch_size: Positive = Field(16, description="examples a step over all workers and accumulation")
    micro_batch_size: Positive = Field(4, description="examples on a worker at a time")
    max_grad_norm: float = Field(1.0, ge=0, description="clips the mean gradient; 0 for none")
    max_length: Positive = 512
    packing: bool = False
    private: bool = False


class PrivacySettings(_Part):
    """Differential privacy of the phases marked `private`."""

    target_epsilon: float = Field(8.0, gt=0)
    run_epsilon: float | None = Field(None, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    unit: Literal["record", "sequence", "user"] = Field(
        "record", description="what one may add or remove; with `user`, batch_size is the expected users a step"
    )
    contribution_cap: Positive | None = Field(None, description="unit `user`: records used of one user at most")
    population: str = Field("default", description="whose data it is; user-level spending is added up over it")
    accountant: Literal["rdp", "prv", "larger"] = "larger"
    mode: Literal["auto", "factored", "hooks", "ghost"] = "auto"
    block: Positive = Field(20, description="steps reserved in the ledger at a time")

    @model_validator(mode="after")
    def _units_fit(self) -> Self:
        if (self.unit == "user") != (self.contribution_cap is not None):
            raise ValueError("contribution_cap belongs to the unit 'user', and the unit 'user' needs it")
        if self.unit == "user" and self.mode != "auto":
            raise ValueError("mode is about gradients per example; a user's are clipped as one, leave it out")
        return self


class EvaluationSettings(_Part):
    """What is measured, and when a run stops early."""

    every_steps: Positive = 250
    held_out: Path | None = Field(
        None, description="a data set whose split validation perplexity is taken on; default: the last phase's data"
    )
    prompts: Path | None = Field(
        None, description="a data set whose prompts are answered and judged; default: the held-out split's"
    )
    benign_prompts: Path | None = Field(
        None, description="a data set whose prompts a good model answers: a refusal is an over-refusal"
    )
    max_prompts: Positive = Field(64, description="of each data set, the first")
    tasks: Path | None = Field(
        None, description="JSON lines of {question, choices, answer: index} or {prompt, target}, for accuracy"
    )
    max_tasks: Positive = Field(500, description="the first of the file")
    max_new_tokens: Positive = 64
    compliance_threshold: float = Field(0.95, ge=0, le=1)
    stop_below_threshold: bool = Field(False, description="stop when compliance falls below the threshold")


class RunConfig(_Part):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    base_model: BaseModelConfig
    phases: tuple[Phase, ...] = Field(min_length=1)
    lora: LoraSettings = LoraSettings()
    privacy: PrivacySettings | None = None
    evaluation: EvaluationSettings = EvaluationSettings()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    parallel: ParallelKind = Field(
        "all_reduce", description="how workers share the phases without privacy; fsdp shards the weights"
    )
    gradient_checkpointing: bool = False
    checkpoint_every_steps: Positive = 100
    keep_checkpoints: Positive = 2
    workers: Positive = 1
    min_workers: Positive | None = Field(
        None, description="elastic: begin with so many workers, and take up to `workers` as the cluster grows"
    )
    use_gpu: bool = False
    max_failures: int = Field(3, ge=0, description="worker failures after which the run gives up")
    max_training_seconds: float = Field(3600, gt=0)
    seed: Seed = 0
    export_merged: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        private = [phase for phase in self.phases if phase.private]
        if private and self.privacy is None:
            raise ValueError("a phase is private, but the run has no 'privacy' part")
        if self.privacy is not None and not private:
            raise ValueError("the run has a 'privacy' part, but no phase is marked private")
        if private and self.lora.dora and any(phase.method == "lora" for phase in private):
            raise ValueError("DoRA has no per-example gradients; use LoRA or rsLoRA in a private run")
        if any(phase.packing for phase in private) and self.privacy and self.privacy.unit != "sequence":
            raise ValueError("packing mixes documents in a row: a private run that packs has the unit 'sequence'")
        methods = [phase.method for phase in self.phases]
        if "full" in methods[methods.index("lora") if "lora" in methods else len(methods) :]:
            raise ValueError("a phase that trains all weights comes before those that train LoRA")
        if len(private) > 1:
            raise ValueError("one phase of a run can be private; make the other a run of its own")
        if private and self.base_model.tiny is not None and private[0].data in self.base_model.tiny.corpus.parents:
            raise ValueError("the tokenizer's corpus lies in the private data; a tokenizer trained on it leaks")
        return self

    @model_validator(mode="after")
    def _workers_fit(self) -> Self:
        if any(phase.private for phase in self.phases) and self.precision == "fp16":
            raise ValueError("a private run knows no loss scaling, which fp16 needs; use bf16 or fp32")
        if self.parallel == "fsdp" and self.precision == "fp16":
            raise ValueError("fp16 has no loss scaling over shards here; use bf16 with fsdp")
        if self.parallel == "fsdp" and self.evaluation.stop_below_threshold:
            raise ValueError("with fsdp no worker holds the model that would answer in mid-training; compliance is "
                             "evaluated at the end")  # fmt: skip
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError("min_workers is more than workers")
        tiny = self.base_model.tiny
        for phase in self.phases:
            if tiny is not None and phase.max_length > tiny.context:
                raise ValueError(f"max_length {phase.max_length} is more than the model's context of {tiny.context}")
            if phase.batch_size < self.workers:
                raise ValueError(f"a batch of {phase.batch_size} is smaller than the number of workers")
        return self


def load_run(path: Path) -> RunConfig:
    """Read a run file. Raises what `load_settings` raises."""
    return load_settings(path, RunConfig)


Settings = TypeVar("Settings", bound=BaseModel)


def load_settings(path: Path, kind: type[Settings]) -> Settings:
    """Read a YAML file of settings. Relative paths in it are relative to the file.

    Raises:
        InvalidInputError: the file cannot be read, or a setting does not fit; it is named.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        values = _resolved(raw, path.resolve().parent)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML: {type(error).__name__}", field="config") from error
    if not isinstance(raw, dict):
        raise InvalidInputError(f"{path} holds no settings", field="config")
    return check_settings(kind, values, str(path))


def check_settings(kind: type[Settings], values: object, source: str) -> Settings:
    """Settings from plain values; `source` names them in an error.

    Raises:
        InvalidInputError: a setting does not fit; it is named.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "run"
        raise InvalidInputError(f"{source}: {where}: {first['msg']}", field=where) from error


_PATHS = {"data", "revised_data", "held_out", "prompts", "benign_prompts", "tasks", "path", "corpus"}


def _resolved(value: object, folder: Path) -> object:
    if isinstance(value, dict):
        return {
            key: str(folder / item) if key in _PATHS and isinstance(item, str) else _resolved(item, folder)
            for key, item in value.items()
        }
    return [_resolved(item, folder) for item in value] if isinstance(value, list) else value
