"""Judges and a reviser that need no model, so that the loop's own rules can be tested one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from acgs.constitution.document import Constitution
from acgs.constitution.lock import LockedConstitution
from acgs.learning.data.records import Message, Record
from acgs.learning.data.sentences import sentence_spans
from acgs.learning.revision.assessment import Assessment, Case, Finding
from acgs.learning.revision.loop import LoopSettings, RevisionLoop, Row
from acgs.learning.revision.reviser import PromptedReviser

PRINCIPLE = "rule_of_law"


class WordJudge:
    """Finds a breach in every sentence that holds a word."""

    def __init__(self, word: str, identity: str) -> None:
        self._word = word
        self.identity = identity

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        return [self._assess(case) for case in cases]

    def _assess(self, case: Case) -> Assessment:
        spans = sentence_spans(case.response)
        found = tuple(Finding(*span, (PRINCIPLE,)) for span in spans if self._word in case.response[slice(*span)])
        named = (PRINCIPLE,) if found else ()
        rules = ("CON-01",) if case.context.get("audit_logging") is False else ()
        return Assessment(not found and not rules, 1 - len(found) / 10, named, rules, found, rules)


class Scripted:
    """A generator whose answers are worked out by a function of the last request and the response."""

    identity = "scripted"

    def __init__(self, answer: Callable[[str, str], str]) -> None:
        self._answer = answer
        self.conversations: list[list[Message]] = []

    def complete(
        self, conversations: Sequence[list[Message]], *, seed: int, max_new_tokens: int, temperature: float
    ) -> list[str]:
        self.conversations += conversations
        responses = [next(m.content for m in chat if m.role == "assistant") for chat in conversations]
        return [self._answer(chat[-1].content, text) for chat, text in zip(conversations, responses, strict=True)]


Loop = Callable[..., RevisionLoop]


@pytest.fixture
def document(constitution: LockedConstitution) -> Constitution:
    return constitution.document


@pytest.fixture
def make_loop(constitution: LockedConstitution) -> Loop:
    def make(generator: Scripted, **settings: int) -> RevisionLoop:
        chosen = LoopSettings(**settings)  # type: ignore[arg-type]
        return RevisionLoop(
            critic=WordJudge("bad", "critic"),
            evaluator=WordJudge("bad", "evaluator"),
            reviser=PromptedReviser(generator, constitution.document, chosen.sampling),
            constitution_digest=constitution.digest,
            settings=chosen,
        )

    return make


def record(identity: str, response: str | None, **more: object) -> Record:
    messages = [Message(role="user", content="What should we do?")]
    if response is not None:
        messages.append(Message(role="assistant", content=response))
    return Record(id=identity, messages=tuple(messages), source="test", **more)  # type: ignore[arg-type]


def row(response: str | None, line: int = 1, **more: object) -> Row:
    return Row(line, "0" * 64, record(f"row-{line}", response, **more))
