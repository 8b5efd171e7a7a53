"""What writes critiques and revisions, behind one interface."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import orjson

from acgs.learning.data.records import Message


class Generator(Protocol):
    """Completes chats. An answer depends on its conversation and the seed, never on the others in the batch, so that
    a run that was interrupted and one that was not give the same answers."""

    @property
    def identity(self) -> str:
        """Model and revision, for the record."""

    def complete(
        self, conversations: Sequence[list[Message]], *, seed: int, max_new_tokens: int, temperature: float
    ) -> list[str]:
        """One answer a conversation, in order; temperature 0 takes the likeliest token.

        Raises:
            UnavailableError: the model cannot answer.
        """


def conversation_seed(conversation: Sequence[Message], seed: int) -> int:
    """A seed of 63 bits of its own for each conversation."""
    body = orjson.dumps([seed, [[message.role, message.content] for message in conversation]])
    return int.from_bytes(hashlib.sha256(body).digest()[:8]) >> 1
