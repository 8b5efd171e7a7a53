"""LoRA adapters on a causal language model, as `acgs train run` writes both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from acgs.errors import InvalidInputError, UnavailableError
from acgs.serving.package import BaseFolder, Package
from acgs.serving.runtimes.runtime import ModelFailedError, Predictions, read_parameters

MAX_NEW_TOKENS: Final = 1024
DEFAULT_NEW_TOKENS: Final = 64
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
MAX_CONFIG_BYTES: Final = 1024 * 1024
_FAMILY: Final = "LORA"

BaseResolver = Callable[[str, str], Path]
"""The folder of a version of the registry, by model and version."""


class GenerationParameters(BaseModel):
    """How a text is continued. Greedy unless a temperature is given; the seed is part of the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_new_tokens: int = Field(DEFAULT_NEW_TOKENS, ge=1, le=MAX_NEW_TOKENS)
    temperature: float = Field(0.0, ge=0.0, le=5.0, allow_inf_nan=False)
    seed: int = Field(0, ge=0, lt=2**31)


class LoraRuntime:
    """A base with its adapter folded in. An instance is a text, or an object with chat `messages`."""

    joins = False  # requests differ in length and parameters; within one, rows go through together
    brief = False

    def __init__(self, package: Package, resolve: BaseResolver) -> None:
        """Load base and adapter.

        Raises:
            InvalidInputError: one of them cannot be loaded, or they do not fit each other.
            UnavailableError: torch, transformers or peft is not installed, or the base cannot be had.
        """
        adapter = package.entry
        _check_adapter(adapter)
        named = package.descriptor.base
        if named is None:
            raise InvalidInputError("a LoRA needs its base", field="base")
        base = package.folder / named.folder if isinstance(named, BaseFolder) else resolve(named.model, named.version)
        self._generator = _open(base, adapter)

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        """See `Runtime.predict`. `facts` has the seed."""
        asked = read_parameters(GenerationParameters, parameters)
        conversations = [_conversation(instance, number) for number, instance in enumerate(instances)]
        try:
            texts = self._generator.complete(
                conversations, seed=asked.seed, max_new_tokens=asked.max_new_tokens, temperature=asked.temperature
            )
        except (RuntimeError, IndexError) as error:
            raise ModelFailedError(f"the model failed ({type(error).__name__})") from error
        return Predictions(texts, facts={"seed": asked.seed})

    def close(self) -> None:
        """See `Runtime.close`."""


def _check_adapter(folder: Path) -> None:
    """Weights as safetensors, and a LoRA: PEFT would fall back on a pickle, or on another method's code."""
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise InvalidInputError(f"the adapter has no {ADAPTER_WEIGHTS}", field="entry")
    try:
        with (folder / ADAPTER_CONFIG).open("rb") as handle:
            config = json.loads(handle.read(MAX_CONFIG_BYTES))
        family = config["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"the adapter has no usable {ADAPTER_CONFIG}", field="entry") from error
    if family != _FAMILY:
        raise InvalidInputError(f"the adapter is a {family}, not a LoRA", field="entry")


def _open(base: Path, adapter: Path) -> Any:
    try:
        from peft import PeftModel

        from acgs.learning.finetune.base_models import open_base
        from acgs.learning.finetune.config import BaseModelConfig
        from acgs.learning.revision.hf import HuggingFaceGenerator
    except ImportError as error:
        raise UnavailableError("LoRA adapters need the extra 'train': pip install 'acgs[train]'") from error
    opened = open_base(BaseModelConfig(path=base))
    try:
        model = PeftModel.from_pretrained(opened.model, str(adapter), local_files_only=True).merge_and_unload()
    # PEFT and torch raise many classes for weights that do not fit.
    except Exception as error:
        raise InvalidInputError(
            f"the adapter does not fit its base ({type(error).__name__}); name the base it was trained on",
            field="entry",
        ) from error
    return HuggingFaceGenerator(model, opened.tokenizer, identity=opened.name)


def _conversation(instance: Any, number: int) -> list[Any]:
    from acgs.learning.data.records import Message

    if isinstance(instance, str):
        return [Message(role="user", content=instance)]
    place = f"instances.{number}"
    messages = instance.get("messages") if isinstance(instance, dict) else None
    if not isinstance(messages, list) or not messages:
        raise InvalidInputError(f"{place} is a text, or an object with 'messages'", field=place)
    try:
        return [Message.model_validate(message) for message in messages]
    except ValueError as error:
        raise InvalidInputError(f"{place}.messages: each has a role and content", field=f"{place}.messages") from error
