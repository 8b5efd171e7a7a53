"""Checkpoints of a phase: trained weights and optimiser state as safetensors, the rest as JSON. Nothing is pickled.

What a loop draws at random it draws from (seed, step), so that a step number is all the state that randomness has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from acgs.errors import IntegrityError

WEIGHTS: Final = "trainable.safetensors"
OPTIMIZER: Final = "optimizer.safetensors"
STATE: Final = "state.json"


class LoopState(BaseModel):
    """Where a loop stands. `curve` holds what was reported: [step, loss, learning rate]."""

    model_config = ConfigDict(extra="forbid")

    phase: int
    step: int = 0
    tokens: int = 0
    curve: list[tuple[int, float, float]] = []
    compliance: list[tuple[int, float]] = []
    seconds: float = 0.0
    loss_scale: float | None = None
    """Of a float16 run."""


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trained parameters by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _beside(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    return tensor.to(parameter.device)


def _itself(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Trained weights and optimiser state, whole, to be saved by one process."""

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]

    @classmethod
    def take(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        whole: Callable[[torch.Tensor], torch.Tensor] = _itself,
    ) -> Self:
        """Gather what is to be saved; where weights are sharded, all processes do it together."""
        parameters = trainable(model)
        kept = {
            f"{name}/{key}": whole(torch.as_tensor(value).detach())
            for name, parameter in parameters.items()
            for key, value in optimizer.state.get(parameter, {}).items()
        }
        return cls({name: whole(parameter.detach()) for name, parameter in parameters.items()}, kept)

    def save(self, directory: Path, state: LoopState) -> None:
        """Write a checkpoint; `state.json` comes last, so that a folder without it is no checkpoint."""
        directory.mkdir(parents=True, exist_ok=True)
        for file, tensors in ((WEIGHTS, self.weights), (OPTIMIZER, self.optimizer)):
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, directory / file)
        (directory / STATE).write_text(state.model_dump_json(), encoding="utf-8")


def load_weights(directory: Path, model: nn.Module) -> LoopState:
    """Restore the trained weights of a model that is not sharded.

    Raises:
        IntegrityError: the checkpoint is incomplete, damaged or of another run.
    """
    state = read_state(directory)
    parameters = trainable(model)
    weights = _tensors(directory, WEIGHTS)
    if weights.keys() != parameters.keys() or any(weights[n].shape != p.shape for n, p in parameters.items()):
        raise IntegrityError(f"the checkpoint {directory.name} is of a run with other trainable weights")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    return state


def load_optimizer(
    directory: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    part: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = _beside,
) -> None:
    """Restore the optimiser; `part` lays a full tensor out as the parameter that it belongs to.

    Raises:
        IntegrityError: the checkpoint is incomplete or damaged.
    """
    parameters = trainable(model)
    restored: dict[torch.Tensor, dict[str, Any]] = {}
    for name, value in _tensors(directory, OPTIMIZER).items():
        parameter_name, key = name.rsplit("/", 1)
        parameter = parameters[parameter_name]
        # Adam's step count stays on the CPU, the moments go where the weights are.
        restored.setdefault(parameter, {})[key] = value if key == "step" else part(value, parameter)
    optimizer.state.clear()
    optimizer.state.update(restored)


def _tensors(directory: Path, file: str) -> dict[str, torch.Tensor]:
    try:
        return load_file(directory / file)
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"the checkpoint {directory.name} cannot be read; delete it to start anew") from error


def read_state(directory: Path) -> LoopState:
    """Only where the loop stood.

    Raises:
        IntegrityError: there is no whole checkpoint.
    """
    try:
        return LoopState.model_validate_json((directory / STATE).read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{directory.name} holds no whole checkpoint") from error
