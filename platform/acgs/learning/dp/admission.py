"""What a private run may not be made of. Each refusal prevents a number that would be wrong silently."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from acgs.errors import InvalidInputError
from acgs.learning.dp import layers

Unit = Literal["record", "sequence", "user"]

_DATA_FREE_INITS = (True, False, "gaussian", "pissa", "olora", "loftq", "orthogonal")
"""Initialisations of LoRA from random numbers or the base weights alone; `pissa_niter_N` is one too."""

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
"""By name, since importing the sharded one takes long."""


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes, each once."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def check_run(
    *, poisson_sampling: bool, packing: bool, unit: Unit, loss_scaling: bool, trainer_max_grad_norm: float
) -> None:
    """Refuse settings of a run under which epsilon would not mean what it says.

    Args:
        poisson_sampling: whether batches come from `PoissonSampler`.
        packing: whether a row holds parts of several documents.
        unit: what one row of the accounting is.
        loss_scaling: whether an fp16 gradient scaler is on.
        trainer_max_grad_norm: the loop's own clipping of the mean gradient, 0 for none.

    Raises:
        InvalidInputError: naming the setting.
    """
    if not poisson_sampling:
        raise InvalidInputError("differential privacy needs Poisson sampling; shuffled batches have no such epsilon")
    if packing and unit != "sequence":
        raise InvalidInputError(f"packing mixes documents in a row, so the unit must be 'sequence', not '{unit}'")
    if loss_scaling:
        raise InvalidInputError("an fp16 gradient scaler changes what clipping bounds; use autocast to bfloat16")
    if trainer_max_grad_norm != 0:
        raise InvalidInputError("clipping of the mean gradient must be 0; per-example clipping takes its place")


def check_model(model: nn.Module) -> None:
    """Refuse a model whose per-example gradients would be wrong in every mode.

    Raises:
        InvalidInputError: naming what is in the way.
    """
    for module in model.modules():
        if type(module).__name__ in _WRAPPERS:
            raise InvalidInputError(f"{type(module).__name__} sums gradients unclipped; pass the model without it")
        if isinstance(module, _BatchNorm):
            raise InvalidInputError("batch norm mixes the examples of a batch; use a model with layer or group norm")
    if not all(module.training for module in model.modules()):
        raise InvalidInputError("the model is in evaluation mode; call model.train() first")
    _check_adapters(model)
    _check_parameters(trainable(model))


def _check_adapters(model: nn.Module) -> None:
    configs: dict[str, Any] = getattr(model, "peft_config", {})
    for config in configs.values():
        if getattr(config, "use_dora", False):
            raise InvalidInputError("DoRA's magnitudes have no per-example gradient here; use LoRA or rsLoRA")
        if getattr(config, "trainable_token_indices", None):
            raise InvalidInputError("trainable_token_indices has no per-example gradient here; leave it out")
        init = getattr(config, "init_lora_weights", True)
        if init not in _DATA_FREE_INITS and not str(init).startswith("pissa_niter_"):
            raise InvalidInputError(
                f"the LoRA initialisation '{init}' may read private data outside the ledger; use true"
            )


def _check_parameters(parameters: list[nn.Parameter]) -> None:
    if not parameters:
        raise InvalidInputError("the model has no trainable parameter; check the LoRA targets")
    if any(hasattr(parameter, "device_mesh") for parameter in parameters):
        raise InvalidInputError("trainable parameters are sharded over devices; replicate LoRA on every rank")
    if any(parameter.dtype != torch.float32 for parameter in parameters):
        raise InvalidInputError("trainable parameters must be float32; keep the base in bfloat16 by autocast instead")
    if len({parameter.device for parameter in parameters}) > 1:
        raise InvalidInputError("trainable parameters are on several devices; move the base before adding LoRA")


def check_optimizer(parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimiser that steps other tensors than the model's own, as after moving the model once it was built.

    Raises:
        InvalidInputError: the two sets differ.
    """
    held = {id(tensor) for group in optimizer.param_groups for tensor in group["params"] if tensor.requires_grad}
    if held != {id(parameter) for parameter in parameters}:
        raise InvalidInputError(
            "the optimizer does not hold exactly the model's trainable parameters; build it after LoRA, on the device"
        )


def outside_layers(model: nn.Module) -> list[str]:
    """Names of trainable parameters that belong to no layer of `acgs.learning.dp.layers`."""
    return [
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.requires_grad and not layers.supported(module)
    ]


def tied(model: nn.Module) -> bool:
    """Whether a trainable parameter has two names."""
    return len(trainable(model)) < sum(p.requires_grad for _, p in model.named_parameters(remove_duplicate=False))


def checkpoints_without_reentry(model: nn.Module) -> bool:
    """Whether transformers recomputes activations with `use_reentrant=False`, which Opacus' hooks cannot follow."""
    checkpointed = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False) is True]
    functions = [getattr(module, "_gradient_checkpointing_func", None) for module in checkpointed]
    return any(not getattr(function, "keywords", {}).get("use_reentrant", True) for function in functions)
