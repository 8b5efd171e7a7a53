"""Token sequences with what of them is learned: encoding of records, packing, batches of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from acgs.errors import InvalidInputError
from acgs.learning.data.chat import encode
from acgs.learning.data.records import Message, Record
from acgs.learning.finetune.config import Phase


@dataclass(frozen=True, slots=True)
class Example:
    """One row: `ids` and, for each position, whether its token is a target. `starts` are where documents begin.

    `record` is the id of the record it was made of and `user` whose it is; a packed row has neither.
    """

    ids: tuple[int, ...]
    targets: tuple[bool, ...]
    starts: tuple[int, ...] = (0,)
    record: str | None = None
    user: str | None = None

    @property
    def target_count(self) -> int:
        """Targets that a next-token loss sees; the first token of a document is predicted from nothing."""
        firsts = set(self.starts)
        return sum(wanted for place, wanted in enumerate(self.targets) if place not in firsts)


def encode_text(tokenizer: Any, text: str, max_length: int) -> list[Example]:
    """Running text for DAPT: every token is a target; longer texts become several rows.

    Raises:
        InvalidInputError: the text has no token.
    """
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    room = max_length - len(begin)
    rows = [begin + ids[start : start + room] for start in range(0, len(ids), room)]
    return [Example(tuple(row), (True,) * len(row)) for row in rows if len(row) > 1]


def encode_chat(tokenizer: Any, messages: Sequence[Message], max_length: int) -> Example:
    """A conversation for SFT: the tokens of the assistant's answers, each with its end mark, are the targets.

    Raises:
        InvalidInputError: the last message is no answer, the conversation is longer than `max_length`, or the
            assistant's tokens cannot be told.
    """
    if not messages or messages[-1].role != "assistant":
        raise InvalidInputError("a conversation to learn from ends with an assistant's message", field="messages")
    encoded = encode(messages, tokenizer)
    if len(encoded.input_ids) > max_length:
        raise InvalidInputError(
            f"the conversation has {len(encoded.input_ids)} tokens, more than {max_length}", field="max_length"
        )
    return Example(tuple(encoded.input_ids), tuple(encoded.loss_mask))


def encode_records(
    tokenizer: Any, records: Iterable[Record], kind: Literal["dapt", "sft"], max_length: int
) -> list[Example]:
    """Examples of a data set, in its order.

    Raises:
        InvalidInputError: a record cannot be encoded (it is named), or there is none.
    """
    examples: list[Example] = []
    for record in records:
        try:
            if kind == "dapt":
                rows = encode_text(tokenizer, record.contents, max_length)
            else:
                rows = [encode_chat(tokenizer, record.messages, max_length)]
        except InvalidInputError as error:
            raise InvalidInputError(f"record {record.id}: {error.message}", field=error.field) from error
        examples += [replace(row, record=record.id, user=record.user) for row in rows]
    if not examples:
        raise InvalidInputError("the data holds nothing to train on", field="data")
    return examples


def pack(examples: Iterable[Example], max_length: int) -> list[Example]:
    """First-fit packing of rows in their order; documents keep apart through their positions."""
    packed: list[tuple[list[int], list[bool], list[int]]] = []
    for example in examples:
        fitting = next((row for row in packed[-_OPEN_ROWS:] if len(row[0]) + len(example.ids) <= max_length), None)
        if fitting is None:
            fitting = ([], [], [])
            packed.append(fitting)
        fitting[2].append(len(fitting[0]))
        fitting[0].extend(example.ids)
        fitting[1].extend(example.targets)
    return [Example(tuple(ids), tuple(targets), tuple(starts)) for ids, targets, starts in packed]


_OPEN_ROWS = 32
"""Rows that are still tried; bounds the search."""


def phase_rows(tokenizer: Any, records: Iterable[Record], phase: Phase) -> list[Example]:
    """What a phase puts through the model: the records' rows, packed where it packs. Raises what encoding raises."""
    examples = encode_records(tokenizer, records, phase.kind, phase.max_length)
    return pack(examples, phase.max_length) if phase.packing else examples


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Tensors of shape (batch, length), padded on the right.

    `input_ids`; `position_ids`, which start anew with each document, so that packed documents do not see each other;
    `target_mask`, 1 where the token is a target that can be predicted; and `attention_mask` unless rows are packed.
    """
    length = max(len(example.ids) for example in examples)
    ids = np.full((len(examples), length), pad_id, dtype=np.int64)
    positions = np.tile(np.arange(length), (len(examples), 1))
    targets = np.zeros((len(examples), length), dtype=np.int64)
    attention = np.zeros((len(examples), length), dtype=np.int64)
    for row, example in enumerate(examples):
        size = len(example.ids)
        ids[row, :size], targets[row, :size], attention[row, :size] = example.ids, example.targets, 1
        for start in example.starts:
            positions[row, start:] -= positions[row, start]
            targets[row, start] = 0
        # Padding is a document of its own, which nothing looks at.
        positions[row, size:] = np.arange(length - size)
    arrays = {"input_ids": ids, "position_ids": positions, "target_mask": targets}
    if all(len(example.starts) == 1 for example in examples):
        arrays["attention_mask"] = attention
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
