"""LoRA adapters on a base model: attach with checks, count, load, merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn

from acgs.errors import InvalidInputError
from acgs.learning.finetune.config import LoraSettings

ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """How much of a model is trained."""

    trainable: int
    total: int

    @property
    def share(self) -> float:
        """Trainable parameters as a share of the base's."""
        return self.trainable / self.total


def attach(model: Any, settings: LoraSettings) -> PeftModel:
    """Wrap a causal model with LoRA; the base is frozen.

    Raises:
        InvalidInputError: no module of the model has one of the target names.
    """
    targets: list[str] | str = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    if isinstance(targets, list):
        _check_targets(model, targets)
    peft: PeftModel = get_peft_model(
        model,
        LoraConfig(
            r=settings.r,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=targets,
            use_dora=settings.dora,
            use_rslora=settings.rslora,
            bias="none",
            task_type="CAUSAL_LM",
        ),
    )
    if settings.freeze_a:
        from acgs.learning.dp.ffa import freeze_a

        freeze_a(peft)
    return peft


def _check_targets(model: nn.Module, targets: Sequence[str]) -> None:
    leaves = sorted({name.rsplit(".", 1)[-1] for name, module in model.named_modules() if _is_linear(module)})
    missing = [target for target in targets if target not in leaves]
    if missing:
        raise InvalidInputError(
            f"LoRA targets {missing} match no layer of the model; it has: {', '.join(leaves)}", field="lora.targets"
        )


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def count_parameters(model: nn.Module) -> ParameterCount:
    """Trainable parameters, and those of the base (a LoRA's own are not counted into the base)."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name)
    return ParameterCount(trainable, total)


def load_adapter_weights(model: PeftModel, directory: Path) -> None:
    """Put saved adapter weights into an attached model; every weight must be there.

    Raises:
        InvalidInputError: the weights are of another adapter.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    saved = load_file(directory / ADAPTER_WEIGHTS)
    expected = get_peft_model_state_dict(model)
    if saved.keys() != expected.keys() or any(saved[name].shape != expected[name].shape for name in saved):
        raise InvalidInputError("the checkpoint's adapter has other layers or another rank than this run", field="lora")
    set_peft_model_state_dict(model, saved)


def merged(model: PeftModel) -> Any:
    """The base with the adapter folded in, as a plain model. The PEFT model is used up by it."""
    return model.merge_and_unload()
