from __future__ import annotations

from typing import Any

import pytest

from acgs.errors import InvalidInputError, UnavailableError
from acgs.learning.data.records import Message
from acgs.learning.revision.hf import GumbelNoise, HuggingFaceGenerator


@pytest.fixture(scope="module")
def generator() -> HuggingFaceGenerator:
    """A tiny Llama with random weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = Tokenizer(
        models.BPE(vocab={"</s>": 0} | {sign: place + 1 for place, sign in enumerate(alphabet)}, merges=[])
    )
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=base, eos_token="</s>")
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=0,
    )
    return HuggingFaceGenerator(LlamaForCausalLM(config), tokenizer, identity="hf:tiny", batch_size=3)


CHATS = [[Message(role="user", content="x" * length)] for length in (1, 5, 30, 12)]


def _ask(generator: HuggingFaceGenerator, chats: list[list[Message]], seed: int, temperature: float) -> list[str]:
    return generator.complete(chats, seed=seed, max_new_tokens=8, temperature=temperature)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_the_batch(generator: HuggingFaceGenerator, temperature: float) -> None:
    together = _ask(generator, CHATS, 3, temperature)
    assert together == [_ask(generator, [chat], 3, temperature)[0] for chat in CHATS]


def test_the_seed_decides_where_there_is_a_temperature(generator: HuggingFaceGenerator) -> None:
    assert _ask(generator, CHATS, 1, 1.0) == _ask(generator, CHATS, 1, 1.0) != _ask(generator, CHATS, 2, 1.0)
    assert _ask(generator, CHATS, 1, 0.0) == _ask(generator, CHATS, 2, 0.0)


def test_samples_follow_the_softmax_at_the_temperature() -> None:
    import torch

    scores, draws = torch.tensor([0.0, 1.0, 2.0]), 4000
    noise = GumbelNoise(range(draws), 2.0)
    chosen = noise(torch.zeros(draws, 1, dtype=torch.long), scores.expand(draws, 3)).argmax(-1)
    shares = torch.bincount(chosen, minlength=3) / draws
    # Four standard errors of a share.
    assert torch.allclose(shares, torch.softmax(scores / 2, 0), atol=4 * 0.5 / draws**0.5)


def test_a_conversation_that_leaves_no_room_is_refused(generator: HuggingFaceGenerator) -> None:
    with pytest.raises(InvalidInputError, match="leaves no room"):
        _ask(generator, [[Message(role="user", content="x" * 300)]], 1, 0.0)


def test_an_unknown_model_is_an_error(tmp_path: Any) -> None:
    with pytest.raises(UnavailableError, match="cannot load the model"):
        HuggingFaceGenerator.load(str(tmp_path), offline=True)
