"""FFA-LoRA (Sun et al. 2024, arXiv:2403.12313): A stays at its random start and only B is trained.

Under privacy both factors carry noise and their product carries the noises' product; with A frozen the update is linear
in the noise, and half of the gradients per example remain.
"""

from __future__ import annotations

from torch import nn

from acgs.errors import InvalidInputError


def freeze_a(model: nn.Module) -> int:
    """Freeze LoRA's A factors, before the optimiser is built.

    Returns:
        How many parameters (numbers, not tensors) were frozen.

    Raises:
        InvalidInputError: the model has no LoRA.
    """
    factors = [parameter for name, parameter in model.named_parameters() if ".lora_A." in name]
    if not factors:
        raise InvalidInputError("the model has no LoRA factors to freeze; add LoRA first", field="freeze_a")
    for factor in factors:
        factor.requires_grad_(False)
    return sum(factor.numel() for factor in factors)
