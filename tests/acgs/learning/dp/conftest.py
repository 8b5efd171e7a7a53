"""Tiny models of each architecture, and the oracle: one example at a time by plain autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch
    from torch import nn

VOCABULARY = 120
TARGETS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "bert": ["query", "value", "dense"],
    "minilm": ["query", "key", "value"],
}


class Silence:
    """No noise, so that a step shows the clipped sum itself."""

    def add_normal(self, target: Any, deviation: float) -> None:
        pass


@dataclass
class Case:
    """A model with a batch and a loss per example."""

    model: nn.Module
    batch: dict[str, torch.Tensor]
    losses_of: Callable[[Any, Any], torch.Tensor]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def losses(self, rows: slice = slice(None)) -> torch.Tensor:
        return self.losses_of(self.model, {name: tensor[rows] for name, tensor in self.batch.items()})

    def engine(self, *, max_grad_norm: float = 1.0, noise: Any = None, batch: int = 4, **options: Any) -> Any:
        """An engine without noise over SGD of rate 1, so that a step moves weights by the gradient itself."""
        import torch

        from acgs.learning.dp.engine import PrivateGradients

        return PrivateGradients(
            self.model,
            torch.optim.SGD(self.parameters, lr=1.0),
            noise_multiplier=options.pop("noise_multiplier", 1.0),
            max_grad_norm=max_grad_norm,
            expected_batch_size=batch,
            physical_batch_size=options.pop("physical_batch_size", 8),
            noise=noise or Silence(),
            **options,
        )

    def flat(self) -> torch.Tensor:
        import torch

        return torch.cat([parameter.detach().flatten().clone() for parameter in self.parameters])

    def gradients(self) -> torch.Tensor:
        """The oracle: each example's own gradient, shape (examples, parameters)."""
        import torch

        rows = []
        for number in range(len(next(iter(self.batch.values())))):
            self.losses(slice(number, number + 1)).sum().backward()
            rows.append(
                torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self.parameters])
            )
            for parameter in self.parameters:
                parameter.grad = None
        return torch.stack(rows)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def lora_case() -> Iterator[Callable[..., Case]]:
    """Builds a LoRA model by architecture; its B factors are random, since at 0 they would hide A's gradients."""

    def build(
        architecture: str, *, length: int = 24, reentrant: bool | None = None, freeze_a: bool = False, **lora: Any
    ) -> Case:
        import torch
        from peft import LoraConfig, get_peft_model

        from acgs.learning.dp import ffa

        torch.manual_seed(1)
        base = _base(architecture)
        targets = lora.pop("target_modules", TARGETS.get(architecture, "all-linear"))
        fans = architecture == "gpt2"
        model = get_peft_model(base, LoraConfig(r=4, target_modules=targets, fan_in_fan_out=fans, **lora))
        if reentrant is not None:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
            model.enable_input_require_grads()
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        if freeze_a:
            ffa.freeze_a(model)
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        mask = torch.ones(4, length, dtype=torch.long)
        mask[1, length // 2 :] = 0
        batch = {"ids": torch.randint(1, VOCABULARY, (4, length)), "mask": mask}
        return Case(model, batch, _encoder_losses if architecture in ("bert", "minilm") else _causal_losses)

    yield build


@pytest.fixture
def linear_case() -> Callable[[int], Case]:
    """One linear layer of the given width, for tests of noise and steps."""

    def build(width: int = 8) -> Case:
        import torch

        model = torch.nn.Linear(width, 1)
        batch = {"rows": torch.randn(4, width, generator=torch.Generator().manual_seed(3))}
        return Case(model, batch, lambda model, batch: model(batch["rows"]).square().squeeze(1))

    return build


def _base(architecture: str) -> nn.Module:
    import transformers as hf

    if architecture == "minilm":
        from acgs.governance.second_tier import minilm_directory

        return hf.AutoModel.from_pretrained(str(minilm_directory()), local_files_only=True)
    small = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    wide = {**small, "intermediate_size": 64, "num_key_value_heads": 2}
    if architecture == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**wide, tie_word_embeddings=True))
    if architecture == "qwen2":
        return hf.Qwen2ForCausalLM(hf.Qwen2Config(**wide))
    if architecture == "gpt2":
        return hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4))
    return hf.BertModel(hf.BertConfig(**small, intermediate_size=64))


def _causal_losses(model: Any, batch: Any) -> torch.Tensor:
    from acgs.learning.dp.losses import per_sequence_loss

    logits = model(input_ids=batch["ids"], attention_mask=batch["mask"], use_cache=False).logits
    return per_sequence_loss(logits, batch["ids"], batch["mask"])


def _encoder_losses(model: Any, batch: Any) -> torch.Tensor:
    from acgs.governance.second_tier import pooled

    return pooled(model, batch["ids"], batch["mask"]).square().mean(1)
