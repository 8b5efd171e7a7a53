"""What turns a response and what speaks against it into a critique and a revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from acgs.constitution.document import Constitution
from acgs.learning.data.records import Message
from acgs.learning.revision.assessment import Assessment
from acgs.learning.revision.chain import Critique, Sampling
from acgs.learning.revision.generator import Generator

_ONLY_THE_RESPONSE: Final = "Answer with the revised response alone, and keep everything in it that breaches nothing."


@dataclass(frozen=True, slots=True)
class Task:
    """A response to revise."""

    prompt: tuple[Message, ...]
    response: str
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reviser made: a critique for each breached principle, and one revision."""

    critiques: tuple[Critique, ...]
    revision_prompt: str
    revision: str


class Reviser(Protocol):
    """Revises responses. A draft depends on its task and the seed alone, not on the batch."""

    @property
    def identity(self) -> str:
        """What revises, for the record."""

    def revise(self, tasks: Sequence[Task], *, seed: int) -> list[Draft]:
        """One draft a task, in order.

        Raises:
            UnavailableError: it cannot answer.
        """


class PromptedReviser:
    """Puts the critique and revision requests of every breached principle to a generator."""

    def __init__(self, generator: Generator, constitution: Constitution, sampling: Sampling) -> None:
        self._generator = generator
        self._principles = {principle.id: principle for principle in constitution.principles}
        self._sampling = sampling
        self.identity = generator.identity

    def revise(self, tasks: Sequence[Task], *, seed: int) -> list[Draft]:
        """See `Reviser.revise`."""
        asked = [(number, name) for number, task in enumerate(tasks) for name in task.assessment.principles]
        answers = self._complete([self._critique_chat(tasks[number], name) for number, name in asked], seed)
        critiques: list[list[Critique]] = [[] for _ in tasks]
        for (number, name), answer in zip(asked, answers, strict=True):
            request = self._principles[name].critique_request
            critiques[number].append(Critique(principle_id=name, prompt=request, response=answer))
        prompts = [self._revision_prompt(task.assessment) for task in tasks]
        chats = [_revision_chat(*parts) for parts in zip(tasks, critiques, prompts, strict=True)]
        revisions = self._complete(chats, seed)
        return [Draft(tuple(made), *rest) for made, *rest in zip(critiques, prompts, revisions, strict=True)]

    def _complete(self, chats: Sequence[list[Message]], seed: int) -> list[str]:
        if not chats:
            return []
        return self._generator.complete(
            chats, seed=seed, max_new_tokens=self._sampling.max_new_tokens, temperature=self._sampling.temperature
        )

    def _critique_chat(self, task: Task, principle: str) -> list[Message]:
        request = self._principles[principle].critique_request
        return [*_exchange(task), Message(role="user", content=request)]

    def _revision_prompt(self, assessment: Assessment) -> str:
        requests = [self._principles[name].revision_request for name in assessment.principles]
        return "\n".join([*requests, _ONLY_THE_RESPONSE])


def _exchange(task: Task) -> list[Message]:
    return [*task.prompt, Message(role="assistant", content=task.response)]


def _revision_chat(task: Task, critiques: Sequence[Critique], revision_prompt: str) -> list[Message]:
    """The exchange, all critiques as one turn, and the request; an empty critique is left out."""
    said = [critique for critique in critiques if critique.response]
    if not said:
        return [*_exchange(task), Message(role="user", content=revision_prompt)]
    return [
        *_exchange(task),
        Message(role="user", content="\n".join(critique.prompt for critique in said)),
        Message(role="assistant", content="\n\n".join(critique.response for critique in said)),
        Message(role="user", content=revision_prompt),
    ]
