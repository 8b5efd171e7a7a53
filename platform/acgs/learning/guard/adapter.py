"""Training of the second tier: LoRA (Hu et al. 2021, arXiv:2106.09685) on MiniLM with one head a principle."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors.torch import load, save
from torch import nn
from transformers import AutoModel, AutoTokenizer

from acgs.governance.second_tier import MAX_TOKENS, minilm_directory, pooled
from acgs.learning.guard.batches import length_sorted_batches, weighted_head_loss

_LORA_ALPHA_OVER_R = 2
_HEAD_RATE = 1e-3
_WARMUP_STEPS = 50

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """Settings of one training."""

    rank: int = 16
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-4
    dropout: float = 0.05


def train_adapter(
    texts: Sequence[str],
    labels: NDArray[np.float32],
    weights: NDArray[np.float32],
    config: AdapterConfig,
    *,
    seed: int,
    order_seed: int,
    report: Report,
) -> bytes:
    """Train and return the adapter: `<module>.up`, `<module>.down` with the scale folded in, and the head.

    Adapters to be averaged share `seed`, from which the initial weights come, and differ in `order_seed`.

    Args:
        labels: shape (n, heads), 0 or 1.
        weights: importance of each text, shape (n,).
    """
    torch.manual_seed(seed)
    rng = random.Random(order_seed)  # noqa: S311 - batch order
    directory = str(minilm_directory())
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=_LORA_ALPHA_OVER_R * config.rank,
        target_modules=["query", "key", "value", "dense"],
        lora_dropout=config.dropout,
    )
    model: Any = get_peft_model(AutoModel.from_pretrained(directory, local_files_only=True), lora)
    width = 2 * model.config.hidden_size
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(width, labels.shape[1]))
    adapted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": adapted, "lr": config.learning_rate}, {"params": head.parameters(), "lr": _HEAD_RATE}],
        weight_decay=0.01,
    )
    ids = [tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"] for text in texts]
    steps = config.epochs * -(-len(texts) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARMUP_STEPS) * max(0.02, 1 - step / steps)
    )
    model.train()
    done = 0
    for epoch in range(config.epochs):
        for batch in length_sorted_batches([len(x) for x in ids], config.batch_size, rng):
            padded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt")
            scores = head(pooled(model, padded["input_ids"], padded["attention_mask"]))
            loss = weighted_head_loss(scores, torch.from_numpy(labels[batch]), torch.from_numpy(weights[batch]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*adapted, *head.parameters()], 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            if done % 50 == 0:
                report(f"second tier: epoch {epoch + 1}/{config.epochs} step {done}/{steps} loss {loss.item():.3f}")
    return _export(model, head)


def average_adapters(adapters: Sequence[bytes]) -> bytes:
    """One adapter whose change to each weight is the mean of theirs (Wortsman et al. 2022, arXiv:2203.05482).

    The mean of low-rank products is the product of the factors side by side, so the rank is the sum of theirs.
    """
    loaded = [load(adapter) for adapter in adapters]
    averaged: dict[str, torch.Tensor] = {}
    for name in loaded[0]:
        parts = [tensors[name] for tensors in loaded]
        if name.endswith(".down"):
            averaged[name] = torch.cat(parts, dim=0)
        elif name.endswith(".up"):
            averaged[name] = torch.cat([part / len(parts) for part in parts], dim=1)
        else:
            averaged[name] = torch.stack([part.float() for part in parts]).mean(0).half()
    return save({name: tensor.contiguous() for name, tensor in averaged.items()})


def _export(model: Any, head: nn.Sequential) -> bytes:
    """Factors in half precision, named by the module of the bare MiniLM they add to."""
    tensors = lora_factors(model.base_model.model)
    linear: Any = head[1]
    tensors["head.weight"] = linear.weight.detach().half().contiguous()
    tensors["head.bias"] = linear.bias.detach().half().contiguous()
    return save(tensors)


def lora_factors(model: nn.Module) -> dict[str, torch.Tensor]:
    """`<module>.up` and `<module>.down` of every module with LoRA, in half precision, the scale folded in."""
    tensors: dict[str, torch.Tensor] = {}
    modules: Any = model.named_modules()
    for name, module in modules:
        if hasattr(module, "lora_A"):
            scale = module.scaling["default"]
            tensors[f"{name}.down"] = module.lora_A["default"].weight.detach().half().contiguous()
            tensors[f"{name}.up"] = (scale * module.lora_B["default"].weight.detach()).half().contiguous()
    return tensors
