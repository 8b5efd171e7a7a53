"""A tiny model and a small corpus for the tests of fine-tuning. torch comes in only when a fixture is used."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from acgs.learning.data.records import Message

if TYPE_CHECKING:
    from acgs.learning.finetune.base_models import Base
    from acgs.learning.finetune.examples import Example

WORDS = tuple("the garden grows herbs and small trees near an old stone wall in spring rain while bees visit".split())  # noqa: SIM905


def conversation(number: int) -> list[Message]:
    rng = random.Random(number)
    return [
        Message(role="user", content=" ".join(rng.choices(WORDS, k=6)) + "?"),
        Message(role="assistant", content=" ".join(rng.choices(WORDS, k=rng.randrange(4, 20))) + "."),
    ]


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    rng = random.Random(0)
    path.write_text("\n".join(" ".join(rng.choices(WORDS, k=12)) + "." for _ in range(200)), encoding="utf-8")
    return path


@pytest.fixture
def base(corpus_file: Path) -> Base:
    """A fresh tiny Llama with its tokenizer; the same weights each time."""
    import torch

    from acgs.learning.finetune.base_models import make_tiny
    from acgs.learning.finetune.config import TinyModel

    torch.set_num_threads(1)
    return make_tiny(TinyModel(corpus=corpus_file, hidden_size=32, layers=2, heads=2, vocabulary=320, context=128))


@pytest.fixture
def examples(base: Base) -> list[Example]:
    from acgs.learning.finetune.examples import encode_chat

    return [encode_chat(base.tokenizer, conversation(number), 128) for number in range(24)]
