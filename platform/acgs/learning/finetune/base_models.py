"""Base models and their tokenizers: from a directory, from a hub that the user names, or a tiny one made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from acgs.errors import InvalidInputError
from acgs.learning.finetune.config import BaseModelConfig, TinyModel

PAD, BEGIN, END = "<pad>", "<s>", "</s>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{{ message['content'] }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")


@dataclass(frozen=True, slots=True)
class Base:
    """A model with its tokenizer; `name` goes on the model card."""

    model: Any
    tokenizer: Any
    name: str


def open_base(config: BaseModelConfig) -> Base:
    """Load or make the base model, on the CPU, in float32.

    Raises:
        InvalidInputError: it does not exist, cannot be read, or its tokenizer cannot mark the end of a text.
    """
    base = make_tiny(config.tiny) if config.tiny is not None else _load(config)
    if base.tokenizer.eos_token_id is None:
        raise InvalidInputError("the tokenizer has no end-of-text token, so answers could not end", field="base_model")
    if base.tokenizer.pad_token_id is None:
        base.tokenizer.pad_token = base.tokenizer.eos_token
    return base


def _load(config: BaseModelConfig) -> Base:
    local = config.path is not None
    source = str(config.path or config.hub)
    if config.path is not None and not config.path.is_dir():
        raise InvalidInputError(f"the base model {config.path.name} is not a folder here", field="base_model.path")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        model = AutoModelForCausalLM.from_pretrained(
            source, local_files_only=local, dtype=torch.float32, use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(
            f"the base model {source} cannot be loaded: {str(error).splitlines()[0]}", field="base_model"
        ) from error
    return Base(model, tokenizer, source)


def make_tiny(config: TinyModel) -> Base:
    """A small Llama with random weights and a byte-level BPE tokenizer trained on the corpus; deterministic by seed."""
    tokenizer = _train_tokenizer(config)
    state = torch.get_rng_state()
    torch.manual_seed(config.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=3 * config.hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    torch.set_rng_state(state)
    return Base(model, tokenizer, f"tiny-llama-{config.layers}x{config.hidden_size}")


def _train_tokenizer(config: TinyModel) -> PreTrainedTokenizerFast:
    try:
        text = config.corpus.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"the tokenizer's corpus {config.corpus.name} cannot be read as text", field="base_model.tiny.corpus"
        ) from error
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[PAD, BEGIN, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(text.splitlines(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, bos_token=BEGIN, eos_token=END, model_max_length=config.context
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save_base(base: Base, directory: Path) -> None:
    """Write model (safetensors) and tokenizer."""
    base.model.save_pretrained(directory, safe_serialization=True)
    base.tokenizer.save_pretrained(directory)
