"""Training of a harm adapter on MiniLM's upper layers: plainly, or with differential privacy under a plan and a gate.

What makes the private training work on a few thousand texts: batches of a good part of the data, no dropout, a frozen
A (`acgs.learning.dp.ffa`), a head that starts at zero on vectors standardised by public text, and a high rate for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from acgs.errors import IntegrityError
from acgs.files import write_atomic
from acgs.governance.scenarios.language import phrase
from acgs.learning.dp.adapter_checks import assert_trained, trainable_weights
from acgs.learning.dp.admission import check_run
from acgs.learning.dp.engine import PrivateGradients
from acgs.learning.dp.ffa import freeze_a
from acgs.learning.dp.sampling import PoissonSampler, split
from acgs.learning.dp.self_test import Batch, self_test
from acgs.learning.finetune.private_loop import Gate
from acgs.learning.guard.batches import length_sorted_batches
from acgs.learning.guard.upper_layers import UpperLayers, collate_states, lower_states, vectors_of
from acgs.privacy.plan import PrivacyPlan

Report = Callable[[str], None]
States = Sequence[torch.Tensor]

_PUBLIC_PHRASES: Final = 400
_LEAST_DEVIATION: Final = 1e-3
"""MiniLM has a pooled coordinate that never varies; such a one is left out of the head's view."""
_WARMUP_SHARE: Final = 0.1
_TEST_ROWS: Final = 4
_EVERY: Final = 10
"""Steps between checkpoints."""
_STEP: Final = "step"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlainSettings(_Part):
    """Training without privacy."""

    first_layer: int = Field(0, ge=0, le=5, description="lowest MiniLM layer that LoRA changes")
    rank: int = Field(16, ge=1)
    epochs: int = Field(2, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    head_rate: float = Field(2e-2, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)


class PrivateSettings(_Part):
    """Training with DP-SGD. Every number is a public constant of the run."""

    first_layer: int = Field(4, ge=0, le=5, description="lowest MiniLM layer that LoRA changes")
    rank: int = Field(4, ge=1)
    steps: int = Field(50, ge=1)
    expected_batch: int = Field(512, ge=1)
    micro_batch: int = Field(64, ge=1)
    learning_rate: float = Field(4e-3, gt=0)
    head_rate: float = Field(0.15, gt=0)
    max_grad_norm: float = Field(0.5, gt=0)
    target_epsilon: float = Field(8.0, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)
    block: int = Field(10, ge=1, description="steps reserved in the ledger at a time")


@dataclass(frozen=True, slots=True)
class Texts:
    """What is trained on: lower states and labels, row by row."""

    states: States
    harmful: NDArray[np.bool_]

    def batch(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Tensors of some rows."""
        states, mask = collate_states([self.states[row] for row in rows])
        return {"states": states, "mask": mask, "targets": torch.from_numpy(self.harmful[rows].astype(np.float32))}


def texts_losses(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Binary cross-entropy of each text, shape (batch,), in nats."""
    logits = model(batch["states"], batch["mask"])
    return binary_cross_entropy_with_logits(logits, batch["targets"], reduction="none")


def build_model(*, first: int, rank: int, dropout: float, seed: int, max_tokens: int) -> UpperLayers:
    """The untrained model. Its constants come from phrases generated from the lexicon, never from data."""
    rng = random.Random(seed)  # noqa: S311 - reproducible phrases, not secrets
    phrases = sorted({phrase(rng).text for _ in range(_PUBLIC_PHRASES)})
    model = UpperLayers(first=first, rank=rank, dropout=dropout, seed=seed)
    vectors = torch.from_numpy(vectors_of(model, lower_states(phrases, first=first, max_tokens=max_tokens)))
    deviation = vectors.std(0)
    scale = 1 / (deviation.clamp(min=_LEAST_DEVIATION) * vectors.shape[1] ** 0.5)
    model.standardise(vectors.mean(0), torch.where(deviation > _LEAST_DEVIATION, scale, 0.0))
    return model


def train_plainly(model: UpperLayers, texts: Texts, settings: PlainSettings, *, seed: int, report: Report) -> None:
    """Train without privacy."""
    rng = random.Random(seed)  # noqa: S311 - batch order
    torch.manual_seed(seed)
    optimizer = _optimizer(model, settings.learning_rate, settings.head_rate)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    lengths = [len(one) for one in texts.states]
    steps, done = settings.epochs * -(-len(lengths) // settings.batch_size), 0
    model.train()
    for epoch in range(settings.epochs):
        for rows in length_sorted_batches(lengths, settings.batch_size, rng):
            _set_rates(optimizer, done, steps)
            losses = texts_losses(model, texts.batch(rows))
            optimizer.zero_grad()
            torch.autograd.backward(losses.mean())
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            done += 1
        report(f"without privacy: epoch {epoch + 1}/{settings.epochs}")
    optimizer.zero_grad()


def train_privately(
    model: UpperLayers,
    texts: Texts,
    settings: PrivateSettings,
    plan: PrivacyPlan,
    *,
    gate: Gate,
    checkpoint: Path,
    report: Report,
) -> int:
    """Train under `plan`, as far as `gate` lets it, from `checkpoint` on if that file exists.

    Each record is one example. Steps count in the ledger, not in the checkpoint: those a crash lost are spent.

    Returns:
        How many steps the weights have seen.

    Raises:
        InvalidInputError: the model or the settings cannot be trained with privately.
        UnavailableError, IntegrityError: the ledger cannot be used, or training broke.
    """
    check_run(poisson_sampling=True, packing=False, unit="record", loss_scaling=False, trainer_max_grad_norm=0)
    freeze_a(model)
    model.without_dropout()
    model.train()
    optimizer = _optimizer(model, settings.learning_rate, settings.head_rate)
    step = _restore(checkpoint, model, optimizer) if checkpoint.exists() else 0
    engine = PrivateGradients(
        model,
        optimizer,
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=plan.max_grad_norm,
        expected_batch_size=plan.expected_batch,
        physical_batch_size=settings.micro_batch,
    )
    try:
        self_test(engine, model, texts.batch(range(min(_TEST_ROWS, len(texts.states)))), texts_losses)
        before = trainable_weights(model)
        sampler = PoissonSampler(population=plan.population, expected_batch_size=plan.expected_batch, steps=plan.steps)
        for chosen in sampler:
            if not gate.permit():
                break
            _set_rates(optimizer, gate.steps - 1, plan.steps)
            # By length, so that little is padding; each example's gradient is the same in any company.
            for part in split(sorted(chosen, key=lambda row: len(texts.states[row])), settings.micro_batch):
                engine.backward(texts_losses(model, texts.batch(part)))
            engine.step()
            step += 1
            if step == 1:
                # LoRA's B gets a gradient only once the head is no longer zero, but noise moves it at once.
                assert_trained(model, before)
            if step % _EVERY == 0:
                _keep(checkpoint, model, optimizer, step)
                report(f"with privacy: step {gate.steps}/{plan.steps}")
        if step % _EVERY:
            _keep(checkpoint, model, optimizer, step)
    finally:
        engine.close()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise IntegrityError("training ended in weights that are not finite; use lower rates")
    return step


def _optimizer(model: UpperLayers, rate: float, head_rate: float) -> torch.optim.Optimizer:
    head = list(model.head.parameters())
    adapted = [parameter for parameter in model.layers.parameters() if parameter.requires_grad]
    groups = [{"params": adapted, "lr": rate, "highest": rate}, {"params": head, "lr": head_rate, "highest": head_rate}]
    return torch.optim.AdamW(groups, weight_decay=0.01)


def _set_rates(optimizer: torch.optim.Optimizer, done: int, steps: int) -> None:
    """Up over the first tenth of the steps, then down to a twentieth, linearly."""
    share = min(1.0, (done + 1) / (_WARMUP_SHARE * steps)) * max(0.05, 1 - done / steps)
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * share


def _keep(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Weights, moments and step count in one file, whole or not at all."""
    tensors = {_STEP: torch.tensor(step)}
    for name, parameter in _trained(model).items():
        tensors[name] = parameter.detach()
        tensors |= {f"{name}/{key}": torch.as_tensor(value) for key, value in optimizer.state[parameter].items()}
    write_atomic(path, save(tensors))


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    try:
        tensors = load(path.read_bytes())
        state: dict[Any, dict[str, torch.Tensor]] = {}
        with torch.no_grad():
            for name, parameter in _trained(model).items():
                parameter.copy_(tensors[name])
                moments = (key for key in tensors if key.startswith(f"{name}/"))
                state[parameter] = {key.rsplit("/", 1)[1]: tensors[key] for key in moments}
        optimizer.state.update(state)
        return int(tensors[_STEP])
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise IntegrityError(
            f"{path} is no checkpoint of this run; delete it to begin with untrained weights"
        ) from error


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
