"""Messages as the text a model reads, and which of its tokens are the assistant's own.

A tokenizer's chat template is used where it has one. Otherwise turns read `User: ...`, `Assistant: ...`,
`System: ...`, parted by a blank line, with the end-of-sequence token after every answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from acgs.errors import InvalidInputError
from acgs.learning.data.records import Message

_NAMES: Final = {"system": "System", "user": "User", "assistant": "Assistant"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text; `spans` are the characters the assistant wrote, with the marks that end its turns."""

    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids; `loss_mask[i]` tells whether token i is to be learnt. Nothing is truncated."""

    input_ids: list[int]
    loss_mask: list[bool]


def render(messages: Sequence[Message], tokenizer: Any) -> Rendered:
    """Render a whole chat.

    Raises:
        InvalidInputError: a message holds a control token of the tokenizer, with which it could forge a turn; or the
            template rewrites earlier turns, so that the assistant's tokens cannot be told.
    """
    _refuse_control_tokens(messages, tokenizer)
    text = _apply(messages, tokenizer, answer_next=False)
    spans: list[tuple[int, int]] = []
    for number, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = _apply(messages[:number], tokenizer, answer_next=True)
        after = _apply(messages[: number + 1], tokenizer, answer_next=False)
        if not (after.startswith(before) and text.startswith(after)):
            raise InvalidInputError(
                "the chat template rewrites earlier turns, so the assistant's tokens cannot be told; use chats of one "
                "exchange or another tokenizer",
                field="messages",
            )
        spans.append((len(before), len(after)))
    return Rendered(text, tuple(spans))


def render_prompt(messages: Sequence[Message], tokenizer: Any) -> str:
    """The text after which a model writes the next answer. Raises what `render` raises."""
    _refuse_control_tokens(messages, tokenizer)
    return _apply(messages, tokenizer, answer_next=True)


def encode(messages: Sequence[Message], tokenizer: Any) -> Encoded:
    """Tokens of a whole chat. A token counts as the assistant's if it begins in its text.

    Raises:
        InvalidInputError: as `render`; or the tokenizer is a slow one, which cannot tell where its tokens lie.
    """
    if not tokenizer.is_fast:
        raise InvalidInputError("a fast tokenizer is needed, to tell the assistant's tokens", field="tokenizer")
    rendered = render(messages, tokenizer)
    encoded = tokenizer(rendered.text, add_special_tokens=False, return_offsets_mapping=True)
    mask = [
        end > start and any(first <= start < last for first, last in rendered.spans)
        for start, end in encoded["offset_mapping"]
    ]
    return Encoded(list(encoded["input_ids"]), mask)


def _refuse_control_tokens(messages: Sequence[Message], tokenizer: Any) -> None:
    for number, message in enumerate(messages, start=1):
        if any(token in message.content for token in tokenizer.all_special_tokens):
            raise InvalidInputError(
                f"message {number} holds a control token of the tokenizer; remove it from the data", field="messages"
            )


def _apply(messages: Sequence[Message], tokenizer: Any, *, answer_next: bool) -> str:
    if tokenizer.chat_template:
        turns = [message.model_dump() for message in messages]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer_next))
    return _plain(messages, tokenizer.eos_token or "", answer_next=answer_next)


def _plain(messages: Sequence[Message], end: str, *, answer_next: bool) -> str:
    parts = []
    for message in messages:
        ending = end if message.role == "assistant" else ""
        parts.append(f"{_NAMES[message.role]}: {message.content}{ending}\n\n")
    return "".join(parts) + ("Assistant:" if answer_next else "")
