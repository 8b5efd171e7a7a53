"""Whether training reached the weights that are saved.

On some device set-ups the optimiser steps tensors that the live model no longer holds; loss curves look plausible and
the saved adapter is the initial one. Both checks are cheap enough for every run.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from acgs.errors import IntegrityError

ADAPTER_FILE = "adapter_model.safetensors"


def trainable_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the trainable parameters, to compare with after a step."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def assert_trained(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """Every trainable parameter moved since `before`, and is finite. A private step moves all of them, by its noise.

    Raises:
        IntegrityError: one did not, or others are trainable now.
    """
    live = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if live.keys() != before.keys():
        raise IntegrityError("the model's trainable parameters are not those that training began with; stop the run")
    for name, weights in live.items():
        if not bool(torch.isfinite(weights).all()):
            raise IntegrityError(f"{name} is not finite after a step; resume from the last good checkpoint")
        if torch.equal(weights, before[name].to(weights.device)):
            raise IntegrityError(
                f"{name} did not change in a step; move the base to its device before adding LoRA and the optimizer"
            )


def assert_saved(model: nn.Module, directory: Path) -> None:
    """The adapter in `directory` holds exactly the live weights of the PEFT model.

    Raises:
        IntegrityError: a tensor is missing, extra or different.
    """
    from peft import get_peft_model_state_dict

    live = {name: tensor.detach().cpu() for name, tensor in get_peft_model_state_dict(model).items()}
    saved = load_file(directory / ADAPTER_FILE)
    if live.keys() != saved.keys():
        raise IntegrityError("the saved adapter holds other tensors than the model; save it again from the live model")
    for name, tensor in live.items():
        if not torch.equal(tensor, saved[name]):
            raise IntegrityError(f"the saved adapter's {name} differs from the live weights; save it again")
