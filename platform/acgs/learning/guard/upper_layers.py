"""MiniLM from one of its layers on, with LoRA and a harm head, fed with states that the layers below made once.

The states of a text depend on that text and public weights alone, so keeping them is no leak; layers below `first` are
then neither run nor differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save
from torch import nn
from transformers import AutoModel, AutoTokenizer

from acgs.governance.second_tier import minilm_directory, pooled_states
from acgs.learning.guard.adapter import lora_factors

_TARGETS = ["query", "key", "value", "dense"]
_LORA_ALPHA_OVER_R = 2
_BATCH = 32


def lower_states(texts: Sequence[str], *, first: int, max_tokens: int) -> list[torch.Tensor]:
    """What layer `first` of MiniLM (from 0) gets to see of each text, shape (tokens, width) each."""
    directory = str(minilm_directory())
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model: Any = AutoModel.from_pretrained(directory, local_files_only=True).eval()
    model.encoder.layer = model.encoder.layer[:first]
    ids = [tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    states: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
            hidden = model(**batch).last_hidden_state
            states |= {row: hidden[place, : len(ids[row])].clone() for place, row in enumerate(rows)}
    return [states[row].clone() for row in range(len(ids))]


def collate_states(states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """States padded to the longest, (batch, tokens, width), and the mask, (batch, tokens)."""
    lengths = torch.tensor([len(one) for one in states])
    padded = nn.utils.rnn.pad_sequence(list(states), batch_first=True)
    return padded, torch.arange(padded.shape[1])[None, :] < lengths[:, None]


class UpperLayers(nn.Module):
    """Layers `first` to the last with LoRA, mean and maximum over tokens, and one linear head on them.

    The head starts at zero and sees pooled values less `centre`, times `spread`; `standardise` sets these constants.
    """

    centre: torch.Tensor
    spread: torch.Tensor

    def __init__(self, *, first: int, rank: int, dropout: float, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        bert: Any = AutoModel.from_pretrained(str(minilm_directory()), local_files_only=True)
        self.first = first
        self.layers: Any = bert.encoder.layer[first:]
        lora = LoraConfig(r=rank, lora_alpha=_LORA_ALPHA_OVER_R * rank, target_modules=_TARGETS, lora_dropout=dropout)
        inject_adapter_in_model(lora, self.layers)
        for name, parameter in self.layers.named_parameters():
            parameter.requires_grad_("lora_" in name)
        width = 2 * bert.config.hidden_size
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def standardise(self, centre: torch.Tensor, spread: torch.Tensor) -> None:
        """Fix the head's view, shape (2 * width,) each. In a private run both must come from public text."""
        self.centre.copy_(centre)
        self.spread.copy_(spread)

    def without_dropout(self) -> None:
        """Turn dropout off for good: under privacy the noise is regularisation enough."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def vectors(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What the head sees, shape (batch, 2 * width)."""
        hidden, attended = states, mask[:, None, None, :]
        for layer in self.layers:
            hidden = layer(hidden, attended)
        vectors: torch.Tensor = (pooled_states(hidden, mask) - self.centre) * self.spread
        return vectors

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logit of harm of each text, shape (batch,)."""
        logits: torch.Tensor = self.head(self.vectors(states, mask))[:, 0]
        return logits

    def export(self) -> bytes:
        """The adapter in the second tier's format, with one head."""
        tensors: dict[str, torch.Tensor] = {}
        for number, layer in enumerate(self.layers, start=self.first):
            tensors |= {f"encoder.layer.{number}.{name}": value for name, value in lora_factors(layer).items()}
        weight = self.head.weight.detach() * self.spread
        tensors["head.weight"] = weight.half().contiguous()
        tensors["head.bias"] = (self.head.bias.detach() - weight @ self.centre).half().contiguous()
        return save(tensors)


def logits_of(model: UpperLayers, states: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    """Logits of all texts, shape (n,), by the model in evaluation mode."""
    return _evaluated(model, states, model.forward).astype(np.float64)


def vectors_of(model: UpperLayers, states: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    """What the head sees of all texts, shape (n, 2 * width), by the model in evaluation mode."""
    return _evaluated(model, states, model.vectors)


def _evaluated(
    model: UpperLayers,
    states: Sequence[torch.Tensor],
    of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> NDArray[np.float32]:
    training = model.training
    model.eval()
    found: dict[int, NDArray[np.float32]] = {}
    order = sorted(range(len(states)), key=lambda row: len(states[row]))
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            found |= dict(zip(rows, of(*collate_states([states[row] for row in rows])).numpy(), strict=True))
    model.train(training)
    return np.stack([found[row] for row in range(len(states))])
