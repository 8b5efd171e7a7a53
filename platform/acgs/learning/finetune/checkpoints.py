"""Checkpoints of a phase: trained weights and optimiser state as safetensors, the rest as JSON. Nothing is pickled.

What a loop draws at random it draws from (seed, step), so that a step number is all the state that randomness has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

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


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trained parameters by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_checkpoint(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: LoopState) -> None:
    """Write a checkpoint; `state.json` comes last, so that a folder without it is no checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    parameters = trainable(model)
    save_file({name: p.detach().cpu().contiguous() for name, p in parameters.items()}, directory / WEIGHTS)
    kept: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            kept[f"{name}/{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    save_file(kept, directory / OPTIMIZER)
    (directory / STATE).write_text(state.model_dump_json(), encoding="utf-8")


def load_checkpoint(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> LoopState:
    """Restore weights and optimiser.

    Raises:
        IntegrityError: the checkpoint is incomplete, damaged or of another run.
    """
    state = read_state(directory)
    parameters = trainable(model)
    try:
        weights, kept = load_file(directory / WEIGHTS), load_file(directory / OPTIMIZER)
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"the checkpoint {directory.name} cannot be read; delete it to start anew") from error
    if weights.keys() != parameters.keys() or any(weights[n].shape != p.shape for n, p in parameters.items()):
        raise IntegrityError(f"the checkpoint {directory.name} is of a run with other trainable weights")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    _restore(optimizer, parameters, kept)
    return state


def read_state(directory: Path) -> LoopState:
    """Only where the loop stood.

    Raises:
        IntegrityError: there is no whole checkpoint.
    """
    try:
        return LoopState.model_validate_json((directory / STATE).read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{directory.name} holds no whole checkpoint") from error


def _restore(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], kept: dict[str, torch.Tensor]
) -> None:
    restored: dict[torch.Tensor, dict[str, Any]] = {}
    for name, value in kept.items():
        parameter_name, key = name.rsplit("/", 1)
        parameter = parameters[parameter_name]
        # Adam's step count stays on the CPU, the moments go where the weights are.
        restored.setdefault(parameter, {})[key] = value if key == "step" else value.to(parameter.device)
    optimizer.state.clear()
    optimizer.state.update(restored)
