"""The training request: names as in the published HTTP contract, and the run that it asks for.

A deployment sets bounds (`Policy`); a request may tighten them, never widen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from acgs.errors import ConstitutionMismatchError, InvalidInputError, first_fault
from acgs.learning.data.records import Message, Record
from acgs.learning.data.splits import assign_splits
from acgs.learning.finetune.config import ATTENTION_PROJECTIONS, RunConfig
from acgs.learning.sessions.workspace import SessionFiles

TINY: Final = "tiny"
"""The one base model that needs no files: made from configuration."""
TRAIN, VALIDATION = "train", "validation"
_SHARES: Final = {TRAIN: 0.9, VALIDATION: 0.1}
_DEFAULT_BATCH: Final = 16
_DEFAULT_MICRO_BATCH: Final = 4

Text = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainingRow(_Part):
    """One example."""

    prompt: Text
    response: Text
    user: str | None = Field(
        None, min_length=1, max_length=256, description="rows of one person stay on one side of the split"
    )
    group: str | None = Field(None, min_length=1, max_length=256, description="never on two sides of the split")

    def record(self, number: int) -> Record:
        """The row as training data."""
        messages = (Message(role="user", content=self.prompt), Message(role="assistant", content=self.response))
        return Record(id=f"row-{number}", messages=messages, user=self.user, group=self.group, source="http")


class Constraints(_Part):
    """`constitutional_constraints`: what the run must hold to, and how it is run."""

    constitutional_hash: str | None = Field(None, description="refused unless it names the constitution in force")
    compliance_threshold: float | None = Field(None, ge=0, le=1, description="not below the deployment's")
    stop_below_threshold: bool = False
    learning_rate: float = Field(2e-4, gt=0, le=1)
    num_epochs: float = Field(3, gt=0, le=1000)
    batch_size: int | None = Field(None, ge=1, description="examples on a worker at a time; default 4, or fewer rows")
    gradient_accumulation_steps: int | None = Field(None, ge=1, le=1024)
    warmup_steps: int = Field(0, ge=0)
    save_steps: int = Field(100, ge=1)
    eval_steps: int = Field(250, ge=1)
    max_new_tokens: int = Field(64, ge=1, le=4096)
    max_length: int = Field(512, ge=8, le=131_072)


class LoraConfig(_Part):
    """`lora_config`, with PEFT's names."""

    r: int = Field(16, ge=1, le=1024)
    lora_alpha: int = Field(32, ge=1)
    target_modules: tuple[str, ...] | Literal["all-linear"] = ATTENTION_PROJECTIONS
    lora_dropout: float = Field(0.1, ge=0, lt=1)
    bias: Literal["none"] = "none"
    task_type: Literal["CAUSAL_LM"] = "CAUSAL_LM"
    use_dora: bool = False
    use_rslora: bool = False
    freeze_a: bool = False


class PrivacyConfig(_Part):
    """`privacy_config`. The noise is solved from epsilon, so it is no setting."""

    enable_differential_privacy: bool = True
    epsilon: float | None = Field(None, gt=0, description="not above the deployment's")
    run_epsilon: float | None = Field(None, gt=0, description="this run's share; default: all that is left")
    delta: float | None = Field(None, gt=0, lt=1, description="not above the deployment's")
    max_grad_norm: float = Field(1.0, gt=0)
    population: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class TrainingRequest(_Part):
    """Body of `POST /api/v1/train`."""

    # `model_` is the contract's prefix here, not pydantic's.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    model_name: Name
    training_data: tuple[TrainingRow, ...] = Field(min_length=1)
    model_id: Name = Field(default_factory=lambda: str(uuid4()))
    constitutional_constraints: Constraints = Constraints()
    lora_config: LoraConfig | None = None
    privacy_config: PrivacyConfig | None = None
    max_training_time: float = Field(3600, gt=0, description="seconds from the start of the run")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a deployment allows; `label` and `digest` name its constitution.

    `bases` are hub ids, and folders (they begin with / or .) that requests call by their last name.
    """

    bases: tuple[str, ...]
    label: str
    digest: str
    compliance_threshold: float
    private_by_default: bool
    max_epsilon: float
    max_delta: float
    max_training_seconds: float


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run file with the data that it reads."""

    config: RunConfig
    train: tuple[Record, ...]
    validation: tuple[Record, ...]


def plan_run(request: TrainingRequest, policy: Policy, files: SessionFiles) -> PlannedRun:
    """The run that a request asks for. Nothing is written.

    Raises:
        InvalidInputError: the request cannot be run here; the field is named.
        ConstitutionMismatchError: it names another constitution.
    """
    wishes = request.constitutional_constraints
    _check_constitution(wishes.constitutional_hash, policy)
    if request.max_training_time > policy.max_training_seconds:
        raise InvalidInputError(
            f"max_training_time: at most {policy.max_training_seconds:g} s here", field="max_training_time"
        )
    train, validation = _split(request.training_data)
    privacy = _privacy(request.privacy_config, policy, len(train))
    micro, batch = _batch(wishes, len(train))
    phase = {
        "kind": "sft",
        "data": files.data,
        "epochs": wishes.num_epochs,
        "learning_rate": wishes.learning_rate,
        "warmup_steps": wishes.warmup_steps,
        "batch_size": batch,
        "micro_batch_size": micro,
        "max_length": wishes.max_length,
        "private": privacy is not None,
    }
    settings = {
        "name": files.session_id,
        "base_model": _base(request.model_name, policy.bases, files.corpus),
        "phases": (phase,),
        "lora": _lora(request.lora_config or LoraConfig()),
        "privacy": privacy,
        "evaluation": {
            "every_steps": wishes.eval_steps,
            "max_new_tokens": wishes.max_new_tokens,
            "compliance_threshold": _threshold(wishes.compliance_threshold, policy),
            "stop_below_threshold": wishes.stop_below_threshold,
        },
        "checkpoint_every_steps": wishes.save_steps,
        "max_training_seconds": request.max_training_time,
    }
    try:
        return PlannedRun(RunConfig.model_validate(settings), train, validation)
    except ValidationError as error:
        field, fault = first_fault(error, whole="body")
        raise InvalidInputError(f"{field}: {fault}", field=field) from error


def _check_constitution(named: str | None, policy: Policy) -> None:
    if named is not None and named not in (policy.label, policy.digest):
        raise ConstitutionMismatchError(
            f"Invalid constitutional hash. Expected: {policy.label}",
            field="constitutional_constraints.constitutional_hash",
        )


def _threshold(asked: float | None, policy: Policy) -> float:
    if asked is not None and asked < policy.compliance_threshold:
        raise InvalidInputError(
            f"constitutional_constraints.compliance_threshold: at least {policy.compliance_threshold:g} here",
            field="constitutional_constraints.compliance_threshold",
        )
    return policy.compliance_threshold if asked is None else asked


def _base(name: str, bases: Sequence[str], corpus: Path) -> dict[str, Any]:
    if name == TINY:
        return {"tiny": {"corpus": corpus}}
    for base in bases:
        is_folder = base.startswith(("/", "."))
        if is_folder and name == Path(base).name:
            return {"path": Path(base).resolve()}
        if not is_folder and name == base:
            return {"hub": base}
    names = ", ".join([TINY, *(Path(base).name if base.startswith(("/", ".")) else base for base in bases)])
    raise InvalidInputError(f"model_name: this deployment trains {names}", field="model_name")


def _split(rows: Sequence[TrainingRow]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    records = [row.record(number) for number, row in enumerate(rows)]
    try:
        homes = assign_splits((record.keys for record in records), _SHARES, seed=0)
    except InvalidInputError as error:
        raise InvalidInputError(
            "training_data: at least 2 rows that share no user and no group are needed, one of them to validate on",
            field="training_data",
        ) from error
    placed = list(zip(records, homes, strict=True))
    train, validation = (tuple(record for record, home in placed if home == side) for side in (TRAIN, VALIDATION))
    return train, validation


def _batch(wishes: Constraints, rows: int) -> tuple[int, int]:
    """Examples on a worker at a time, and examples a step."""
    micro = wishes.batch_size or min(_DEFAULT_MICRO_BATCH, rows)
    if wishes.gradient_accumulation_steps is None and wishes.batch_size is None:
        return micro, min(_DEFAULT_BATCH, rows)
    batch = micro * (wishes.gradient_accumulation_steps or 1)
    if batch > rows:
        raise InvalidInputError(
            f"constitutional_constraints.batch_size: a batch of {batch} is larger than the {rows} rows to train on",
            field="constitutional_constraints.batch_size",
        )
    return micro, batch


def _lora(given: LoraConfig) -> dict[str, Any]:
    return {
        "r": given.r,
        "alpha": given.lora_alpha,
        "dropout": given.lora_dropout,
        "targets": given.target_modules,
        "dora": given.use_dora,
        "rslora": given.use_rslora,
        "freeze_a": given.freeze_a,
    }


def _privacy(given: PrivacyConfig | None, policy: Policy, rows: int) -> dict[str, Any] | None:
    if not (policy.private_by_default if given is None else given.enable_differential_privacy):
        return None
    given = given or PrivacyConfig()
    epsilon = policy.max_epsilon if given.epsilon is None else given.epsilon
    delta = policy.max_delta if given.delta is None else given.delta
    for name, value, bound in (("epsilon", epsilon, policy.max_epsilon), ("delta", delta, policy.max_delta)):
        if value > bound:
            raise InvalidInputError(f"privacy_config.{name}: at most {bound:g} here", field=f"privacy_config.{name}")
    # A delta of 1/n would allow publishing one of the n in full (Dwork & Roth 2014, section 2.3).
    if delta >= 1 / rows:
        raise InvalidInputError(
            f"privacy_config.delta: must be below 1/n = {1 / rows:g}, n is the number of rows to train on",
            field="privacy_config.delta",
        )
    return {
        "target_epsilon": epsilon,
        "run_epsilon": given.run_epsilon,
        "delta": delta,
        "max_grad_norm": given.max_grad_norm,
        "population": given.population,
    }
