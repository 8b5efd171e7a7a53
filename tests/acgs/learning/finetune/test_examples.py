"""Encoding, packing and collating."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from acgs.errors import InvalidInputError
from tests.acgs.learning.finetune.conftest import conversation

if TYPE_CHECKING:
    from acgs.learning.finetune.base_models import Base
    from acgs.learning.finetune.examples import Example


def test_the_targets_are_the_answers_and_their_end_marks(base: Base) -> None:
    from acgs.learning.finetune.examples import encode_chat

    messages = conversation(1) + conversation(2)
    example = encode_chat(base.tokenizer, messages, 128)
    wanted = [token for token, target in zip(example.ids, example.targets, strict=True) if target]
    end = base.tokenizer.eos_token
    assert base.tokenizer.decode(wanted) == messages[1].content + end + messages[3].content + end


def test_a_conversation_that_does_not_fit_or_ends_with_a_question_is_refused(base: Base) -> None:
    from acgs.learning.finetune.examples import encode_chat

    with pytest.raises(InvalidInputError, match="more than 8"):
        encode_chat(base.tokenizer, conversation(1), 8)
    with pytest.raises(InvalidInputError, match="ends with an assistant"):
        encode_chat(base.tokenizer, conversation(1)[:1], 128)


def test_long_text_becomes_rows_that_hold_all_of_it(base: Base, corpus_file: object) -> None:
    from acgs.learning.finetune.examples import encode_text

    text = " ".join(message.content for number in range(20) for message in conversation(number))
    rows = encode_text(base.tokenizer, text, 32)
    assert all(len(row.ids) <= 32 for row in rows)
    tokens = [token for row in rows for token in row.ids if token != base.tokenizer.bos_token_id]
    assert base.tokenizer.decode(tokens[:-1]) == text


def test_packing_keeps_every_token_once_and_in_order(examples: list[Example]) -> None:
    from acgs.learning.finetune.examples import pack

    packed = pack(examples, 128)
    assert len(packed) < len(examples)
    assert all(len(row.ids) <= 128 for row in packed)
    documents = [
        row.ids[start:end]
        for row in packed
        for start, end in zip(row.starts, [*row.starts[1:], len(row.ids)], strict=True)
    ]
    assert sorted(documents) == sorted(example.ids for example in examples)
    assert sum(row.target_count for row in packed) == sum(example.target_count for example in examples)


def test_packed_documents_do_not_see_each_other(base: Base, examples: list[Example]) -> None:
    """The loss of packed rows is the loss of their documents on their own."""
    import torch

    from acgs.learning.finetune.examples import collate, pack
    from acgs.learning.finetune.loop import batch_loss_sum

    pad = base.tokenizer.pad_token_id
    base.model.eval()
    with torch.no_grad():
        packed = float(batch_loss_sum(base.model, collate(pack(examples, 128), pad)))
        alone = sum(float(batch_loss_sum(base.model, collate([e], pad))) for e in examples)
        padded = float(batch_loss_sum(base.model, collate(examples, pad)))
    assert packed == pytest.approx(alone, rel=1e-5)
    assert padded == pytest.approx(alone, rel=1e-5)
