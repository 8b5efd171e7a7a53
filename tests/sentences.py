"""Records of random words, for runs of training in which nothing is to be learned but that they work."""

from __future__ import annotations

import random

from acgs.learning.data.records import Message, Record

WORDS = ["garden", "herbs", "small", "trees", "near", "old", "stone", "wall", "spring", "rain", "bees", "visit"]


def record(number: int, *, user: str | None = None, ending: str = ".", topic: str = "") -> Record:
    """A question and an answer, the same for the same number; `topic` ends the question."""
    rng = random.Random(number)
    question = Message(role="user", content=" ".join(rng.choices(WORDS, k=5)) + topic + "?")
    answer = Message(role="assistant", content=" ".join(rng.choices(WORDS, k=rng.randrange(4, 12))) + ending)
    return Record(id=f"r{number}", messages=(question, answer), user=user, source="test")
