"""A whole run on one process of many: its phases one after the other, each from where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch

from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.learning.data.dataset import Dataset
from acgs.learning.data.records import Record
from acgs.learning.dp.adapter_checks import assert_saved
from acgs.learning.finetune.adapters import attach, count_parameters, load_adapter_weights
from acgs.learning.finetune.base_models import Base, open_base, save_base
from acgs.learning.finetune.checkpoints import STATE, LoopState, read_state, trainable
from acgs.learning.finetune.config import Phase, RunConfig
from acgs.learning.finetune.evaluation import (
    Answering,
    Compliance,
    EvaluationSets,
    compliance,
    over_refusal,
    peak_memory,
    perplexity,
    read_sets,
)
from acgs.learning.finetune.examples import Example, phase_rows
from acgs.learning.finetune.loop import Ending, LoopOptions, Save, train_phase
from acgs.learning.finetune.loop import Progress as Step
from acgs.learning.finetune.outcome import PhaseOutcome, RunOutcome
from acgs.learning.finetune.parallel import is_sharded, trained_weights
from acgs.learning.finetune.private_loop import BUDGET_REACHED, Gate, train_privately
from acgs.learning.finetune.progress import Progress, ProgressFile
from acgs.learning.finetune.task_accuracy import task_scores
from acgs.learning.finetune.world import World
from acgs.learning.revision.assessment import Judge
from acgs.privacy.plan import PrivacyPlan

ADAPTER: Final = "adapter"
MODEL: Final = "model"
PROGRESS: Final = "progress.json"
TIME_IS_UP: Final = "max_training_seconds is over"
TOO_LITTLE_COMPLIANCE: Final = "compliance fell below the threshold"

_HALF: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}

Report = Callable[[LoopState, Save], None]
"""Called on every process when a checkpoint is due."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs from outside. Process 0 alone opens the judge and the gate."""

    report: Report
    open_judge: Callable[[], Judge]
    principles: Sequence[str]
    plan: PrivacyPlan | None = None
    open_gate: Callable[[], AbstractContextManager[Gate]] | None = None
    checkpoint: Path | None = None
    world: World = field(default_factory=World)


class TrainingRun:
    """Trains, evaluates and writes what came of it below `output`; finished phases are kept there."""

    def __init__(self, config: RunConfig, output: Path, surroundings: Surroundings) -> None:
        self._config = config
        self._output = output
        self._around = surroundings
        self._world = surroundings.world
        # Read now: while later phases run, Ray Train deletes the checkpoint that this process started from.
        checkpoint = surroundings.checkpoint
        self._resumed_phase = read_state(checkpoint).phase if checkpoint is not None else None
        self._judge: Judge | None = None
        self._progress = ProgressFile(output / PROGRESS)
        self._validation_seconds = 0.0
        self._deadline = time.monotonic() + config.max_training_seconds
        self._compliance: float | None = None
        self._epsilon: float | None = None

    def execute(self) -> RunOutcome:
        """Run every phase that is not finished, then evaluate. The outcome is whole on process 0.

        Raises:
            AcgsError: the run cannot go on; the message says why.
        """
        started = time.monotonic()
        base = open_base(self._config.base_model)
        before = self._evaluate(base.model, base) if self._leads else None
        model: Any = base.model
        outcomes: list[PhaseOutcome] = []
        for number, phase in enumerate(self._config.phases):
            model = self._prepare(model, phase)
            model, outcome = self._run_phase(number, phase, model, base)
            outcomes.append(outcome)
            if outcomes[-1].reason not in ("finished", BUDGET_REACHED):
                break
        self._tell(Progress(phase="evaluation", progress=0.95), now=True)
        after = self._evaluate(model, base) if self._leads else None
        self._tell(Progress(phase="finished", progress=1.0), now=True)
        count = count_parameters(model)
        return RunOutcome(
            base=base.name,
            trainable_parameters=count.trainable,
            total_parameters=count.total,
            phases=outcomes,
            before=before,
            after=after,
            seconds=time.monotonic() - started,
            validation_seconds=self._validation_seconds,
        )

    @property
    def _leads(self) -> bool:
        return self._world.rank == 0

    def phase_folder(self, number: int) -> Path:
        """Where a finished phase is kept."""
        return self._output / "phases" / str(number)

    def _prepare(self, model: Any, phase: Phase) -> Any:
        """The model as the phase trains it, on its device, in this order: device, then LoRA, then the optimiser."""
        model = model.to(self._world.device)
        if phase.method == "full":
            for parameter in model.parameters():
                parameter.requires_grad_(True)
        elif not hasattr(model, "peft_config"):
            torch.manual_seed(self._config.seed)  # the adapter's first weights are random
            model = attach(model, self._config.lora)
        if self._config.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.enable_input_require_grads()
        return model

    def _run_phase(self, number: int, phase: Phase, model: Any, base: Base) -> tuple[Any, PhaseOutcome]:
        """Returns the trained model, whole on every process, and how the phase went."""
        folder = self.phase_folder(number)
        if (folder / STATE).exists():
            self._load_finished(folder, phase, model)
            return model, PhaseOutcome.of(phase, read_state(folder), "finished", perplexity=None)
        resume = self._around.checkpoint if number == self._resumed_phase else None
        examples = self._examples(phase, base, "train")
        ending = self._train(number, model, base, examples=examples, resume=resume)
        if is_sharded(model):
            model = self._put_together(number, model)
        held_out = None
        if self._leads:
            self._keep(folder, phase, model, base, ending.state)
            held_out = self._perplexity(model, base, phase)
        self._world.agree(0)  # nobody goes on before the phase is kept
        return model, PhaseOutcome.of(phase, ending.state, ending.reason, perplexity=held_out)

    def _put_together(self, number: int, sharded: Any) -> Any:
        """A whole model with the weights that the sharded one was trained to."""
        weights = trained_weights(sharded)
        model: Any = open_base(self._config.base_model).model
        for earlier, phase in enumerate(self._config.phases[: number + 1]):
            model = self._prepare(model, phase)
            if earlier < number:
                self._load_finished(self.phase_folder(earlier), phase, model)
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                parameter.copy_(weights[name])
        return model

    def _train(self, number: int, model: Any, base: Base, *, examples: list[Example], resume: Path | None) -> Ending:
        phase = self._config.phases[number]
        options = LoopOptions(
            seed=self._config.seed,
            phase_number=number,
            pad_id=base.tokenizer.pad_token_id,
            checkpoint_every=self._config.checkpoint_every_steps,
            autocast=_HALF.get(self._config.precision),
            parallel=self._config.parallel,
        )
        observer = _Observer(self, number, phase, model, base)
        if not phase.private:
            return train_phase(
                model, examples, phase, options=options, observer=observer, world=self._world, resume=resume
            )
        privacy, plan, open_gate = self._config.privacy, self._around.plan, self._around.open_gate
        if privacy is None or plan is None or (self._leads and open_gate is None):
            raise InvalidInputError("a private phase needs a plan and a ledger", field="privacy")
        with open_gate() if self._leads and open_gate else nullcontext() as gate:
            return train_privately(
                model, examples, phase, privacy=privacy, plan=plan, options=options, observer=observer,
                gate=gate, world=self._world, resume=resume,
            )  # fmt: skip

    def _keep(self, folder: Path, phase: Phase, model: Any, base: Base, state: LoopState) -> None:
        """Write what the phase trained; the state comes last and marks it as finished."""
        if phase.method == "lora":
            model.save_pretrained(folder / ADAPTER, safe_serialization=True)
            assert_saved(model, folder / ADAPTER)
        else:
            save_base(Base(model, base.tokenizer, base.name), folder / MODEL)
        write_atomic(folder / STATE, state.model_dump_json().encode())

    def _load_finished(self, folder: Path, phase: Phase, model: Any) -> None:
        if phase.method == "lora":
            load_adapter_weights(model, folder / ADAPTER)
        else:
            from safetensors.torch import load_model

            load_model(model, folder / MODEL / "model.safetensors")

    def _examples(self, phase: Phase, base: Base, split: str) -> list[Example]:
        return phase_rows(base.tokenizer, Dataset(phase.data).records(split), phase)

    def _perplexity(self, model: Any, base: Base, phase: Phase) -> float:
        return perplexity(
            model,
            self._examples(phase, base, "validation"),
            pad_id=base.tokenizer.pad_token_id,
            batch_size=phase.micro_batch_size,
            device=self._world.device,
            autocast=_HALF.get(self._config.precision),
        )

    @cached_property
    def _sets(self) -> EvaluationSets:
        return read_sets(self._config)

    @property
    def _answering(self) -> Answering:
        return Answering(
            max_new_tokens=self._config.evaluation.max_new_tokens,
            batch_size=self._config.phases[-1].micro_batch_size,
            seed=self._config.seed,
        )

    def _answers(self, model: Any, base: Base, records: Sequence[Record]) -> list[str]:
        return self._answering.answers(model, base.tokenizer, [record.prompt for record in records])

    def judge_answers(self, model: Any, base: Base) -> Compliance | None:
        """Compliance of the model's answers; None where there is no prompt."""
        records = self._sets.prompts
        if not records:
            return None
        started = time.monotonic()
        self._judge = self._judge or self._around.open_judge()
        answers = self._answers(model, base, records)
        found = compliance(records, answers, self._judge, self._around.principles)
        self._validation_seconds += time.monotonic() - started
        self._compliance = found.compliant.share
        return found

    def _evaluate(self, model: Any, base: Base) -> dict[str, Any]:
        """All figures of a model; None where there is nothing to take one on."""
        model, sets, device = model.to(self._world.device), self._sets, self._world.device
        autocast = _HALF.get(self._config.precision)
        judged = self.judge_answers(model, base)
        refused = over_refusal(self._answers(model, base, sets.benign)) if sets.benign else None
        solved = (
            task_scores(model, base.tokenizer, sets.tasks, self._answering, device=device, autocast=autocast)
            if sets.tasks
            else None
        )
        held_out = self._config.phases[-1].model_copy(update={"data": sets.held_out})
        return {
            "perplexity": self._perplexity(model, base, held_out),
            "compliance": judged.model_dump() if judged else None,
            "over_refusal": refused.model_dump() if refused else None,
            "tasks": solved.model_dump() if solved else None,
            "peak_memory": peak_memory(device).model_dump(),
        }

    def stop_reason(self, state: LoopState, model: Any, base: Base) -> str | None:
        """Time and compliance, as process 0 sees them."""
        settings = self._config.evaluation
        code = 0
        if self._leads:
            if time.monotonic() > self._deadline:
                code = 1
            elif settings.stop_below_threshold and state.step % settings.every_steps == 0:
                judged = self.judge_answers(model, base)
                share = judged.compliant.share if judged else None
                if share is not None:
                    state.compliance.append((state.step, share))
                    code = 2 if share < settings.compliance_threshold else 0
        return (None, TIME_IS_UP, TOO_LITTLE_COMPLIANCE)[self._world.agree(code)]

    def checkpoint_due(self, state: LoopState, save: Save) -> None:
        """Hand the checkpoint on."""
        self._around.report(state, save)

    def stepped(self, number: int, phase: Phase, step: Step) -> None:
        """Tell how far the run is."""
        phases = len(self._config.phases)
        speed = step.tokens / step.seconds if step.seconds > 0 else None
        left = (step.steps - step.step) * step.seconds / step.step if step.step else None
        self._tell(
            Progress(
                phase=f"{phase.kind} ({number + 1} of {phases})",
                progress=round(0.95 * (number + step.step / step.steps) / phases, 4),
                step=step.step,
                steps=step.steps,
                loss=step.loss,
                epsilon=step.epsilon,
                tokens_per_second=speed,
                eta_seconds=left,
            ),
            now=step.step == step.steps,
        )

    def _tell(self, progress: Progress, *, now: bool = False) -> None:
        self._epsilon = progress.epsilon if progress.epsilon is not None else self._epsilon
        progress = progress.model_copy(update={"epsilon": self._epsilon, "compliance": self._compliance})
        if self._leads and self._progress.write(progress, now=now):
            print(progress.model_dump_json(exclude_none=True), flush=True)  # noqa: T201 - the job's log


@dataclass(frozen=True, slots=True)
class _Observer:
    """Ties a loop to the run it is part of."""

    run: TrainingRun
    number: int
    phase: Phase
    model: Any
    base: Base

    def stepped(self, progress: Step) -> None:
        self.run.stepped(self.number, self.phase, progress)

    def checkpoint_due(self, state: LoopState, save: Save) -> None:
        self.run.checkpoint_due(state, save)

    def stop_reason(self, state: LoopState) -> str | None:
        return self.run.stop_reason(state, self.model, self.base)
