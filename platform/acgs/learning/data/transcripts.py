r"""Transcripts in one string, as hh-rlhf has them: turns that begin with `\n\nHuman: ` and `\n\nAssistant: `."""

from __future__ import annotations

import re
from typing import Final

from acgs.errors import InvalidInputError
from acgs.learning.data.records import Message, Role

_TURN: Final = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ \t]*")
_ROLES: Final[dict[str, Role]] = {"Human": "user", "Assistant": "assistant"}


def parse_transcript(text: str, where: str) -> tuple[Message, ...]:
    """The turns of a transcript; only a blank line before the name begins a turn, so `: ` may occur within one.

    Turns of one speaker in a row are joined; an empty last turn of the assistant, a prompt's end, is left out.

    Raises:
        InvalidInputError: the text does not begin with a turn, or a turn is empty.
    """
    pieces = _TURN.split(text)
    before, names, contents = pieces[0], pieces[1::2], [piece.strip() for piece in pieces[2::2]]
    if before.strip() or not names:
        raise InvalidInputError(f"{where}: a transcript begins with 'Human:' or 'Assistant:'", field="transcript")
    if names[-1] == "Assistant" and not contents[-1]:
        names, contents = names[:-1], contents[:-1]
    messages: list[Message] = []
    for name, content in zip(names, contents, strict=True):
        if not content:
            raise InvalidInputError(f"{where}: a turn of '{name}' is empty", field="transcript")
        role = _ROLES[name]
        if messages and messages[-1].role == role:
            messages[-1] = Message(role=role, content=f"{messages[-1].content}\n\n{content}")
        else:
            messages.append(Message(role=role, content=content))
    if not messages:
        raise InvalidInputError(f"{where}: the transcript holds no turn", field="transcript")
    return tuple(messages)
