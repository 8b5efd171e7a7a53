"""A Hugging Face causal language model in this process. Needs torch and transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from acgs.errors import InvalidInputError, UnavailableError
from acgs.learning.data.chat import render_prompt
from acgs.learning.data.records import Message
from acgs.learning.revision.generator import conversation_seed

if TYPE_CHECKING:
    import torch


BATCH_SIZE: Final = 8
"""Chats that go through the model together."""


class GumbelNoise:
    """Sampling by the Gumbel-max trick (Gumbel 1954): the largest of log-probability / T + Gumbel noise is a sample.

    Each row draws from a generator of its own, so its sample does not depend on the batch around it.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        import torch

        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of shape (rows, vocabulary), ready for the largest to be taken."""
        import torch

        uniform = torch.stack([torch.rand(scores.shape[-1], generator=generator) for generator in self._generators])
        tiny = torch.finfo(torch.float32).tiny
        exponential = (-torch.log(uniform.clamp(min=tiny))).clamp(min=tiny)
        noise = -torch.log(exponential)
        return scores.float() / self._temperature + noise.to(scores.device)


class HuggingFaceGenerator:
    """Batched generation with left padding."""

    def __init__(self, model: Any, tokenizer: Any, *, identity: str, batch_size: int = BATCH_SIZE) -> None:
        """`model` and `tokenizer` as transformers loads them."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self.identity = identity
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"

    @classmethod
    def load(
        cls,
        name: str,
        *,
        revision: str | None = None,
        offline: bool = False,
        batch_size: int = BATCH_SIZE,
        device: str = "cpu",
    ) -> Self:
        """Load from a folder or the hub.

        Raises:
            UnavailableError: transformers is missing, or the model cannot be had.
        """
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise UnavailableError(
                "a model in this process needs the extra 'train': pip install 'acgs[train]'"
            ) from error
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, local_files_only=offline)
            model: Any = AutoModelForCausalLM.from_pretrained(name, revision=revision, local_files_only=offline)
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"cannot load the model '{name}' ({type(error).__name__}); check its name"
            ) from error
        return cls(model.to(device), tokenizer, identity=identity_of(name, revision), batch_size=batch_size)

    def complete(
        self, conversations: Sequence[list[Message]], *, seed: int, max_new_tokens: int, temperature: float
    ) -> list[str]:
        """See `Generator.complete`.

        Raises:
            InvalidInputError: a conversation leaves no room for an answer of `max_new_tokens`.
        """
        answers: list[str] = []
        for start in range(0, len(conversations), self._batch_size):
            batch = conversations[start : start + self._batch_size]
            seeds = [conversation_seed(conversation, seed) for conversation in batch]
            answers += self._batch(
                [render_prompt(chat, self._tokenizer) for chat in batch], seeds, max_new_tokens, temperature
            )
        return answers

    def _batch(self, prompts: list[str], seeds: list[int], max_new_tokens: int, temperature: float) -> list[str]:
        import torch
        from transformers import LogitsProcessorList

        encoded = self._tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
        length = encoded["input_ids"].shape[1]
        room = getattr(self._model.config, "max_position_embeddings", None)
        if room is not None and length + max_new_tokens > room:
            raise InvalidInputError(
                f"a conversation of {length} tokens leaves no room for {max_new_tokens} more in a model of {room}; "
                "shorten the rows or lower max_new_tokens",
                field="max_new_tokens",
            )
        noise = [GumbelNoise(seeds, temperature)] if temperature > 0 else []
        with torch.inference_mode():
            output = self._model.generate(
                **encoded.to(self._model.device),
                do_sample=False,
                num_beams=1,
                max_new_tokens=max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList(noise),
            )
        decoded: list[str] = self._tokenizer.batch_decode(output[:, length:], skip_special_tokens=True)
        return [text.strip() for text in decoded]


def identity_of(name: str, revision: str | None = None) -> str:
    """What a model is called in chains, wherever it runs."""
    return f"hf:{name}@{revision or 'default'}"
