"""A Hugging Face model in several Ray actors, as one generator.

Chats are cut into the same pieces, in the same order, whatever the number of actors, and each is answered from seeds
of its own: the answers do not depend on how many actors there are, or on which of them died.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util import ActorPool

from acgs.errors import AcgsError, UnavailableError
from acgs.learning.data.records import Message
from acgs.learning.revision.config import ActorSettings
from acgs.learning.revision.hf import BATCH_SIZE, HuggingFaceGenerator, identity_of

RESTARTS: Final = 3
"""Times that an actor is started anew, and that its piece is done again, before the run gives up."""


class ModelActor:
    """Holds one copy of the model. It is loaded when it is first needed, and so also after a restart."""

    def __init__(self, name: str, threads: int, device: str) -> None:
        self._name, self._threads, self._device = name, threads, device

    @cached_property
    def _generator(self) -> HuggingFaceGenerator:
        import torch
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(self._threads)
        return HuggingFaceGenerator.load(self._name, device=self._device)

    def complete(self, chats: list[list[Message]], seed: int, max_new_tokens: int, temperature: float) -> list[str]:
        """See `Generator.complete`."""
        return self._generator.complete(chats, seed=seed, max_new_tokens=max_new_tokens, temperature=temperature)


class ActorGenerator:
    """Hands pieces of chats to whichever actor is free."""

    def __init__(self, name: str, settings: ActorSettings) -> None:
        """Start the actors on the cluster that this process is connected to.

        Args:
            name: the model's folder, as every node sees it, or its id on the hub.
            settings: how many, and what each of them takes.
        """
        self.identity = identity_of(name)
        actor: Any = ray.remote(ModelActor).options(
            num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS
        )
        device = "cuda" if settings.gpus else "cpu"
        self._actors = [actor.remote(name, settings.cpus, device) for _ in range(settings.count)]

    def complete(
        self, conversations: Sequence[list[Message]], *, seed: int, max_new_tokens: int, temperature: float
    ) -> list[str]:
        """See `Generator.complete`.

        Raises:
            AcgsError: what the model raised.
            UnavailableError: an actor died more often than it is started anew.
        """
        pieces = [list(conversations[start : start + BATCH_SIZE]) for start in range(0, len(conversations), BATCH_SIZE)]
        answers = ActorPool(self._actors).map(
            lambda actor, piece: actor.complete.remote(piece, seed, max_new_tokens, temperature), pieces
        )
        try:
            return [answer for piece in answers for answer in piece]
        except RayError as error:
            raise in_own_words(error) from error


def in_own_words(error: RayError) -> AcgsError:
    """What Ray says of a failed call: what the model itself said, or that its actor is gone."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, AcgsError):
        return cause
    if isinstance(error, RayTaskError):
        return UnavailableError(f"the model failed in its actor ({type(cause).__name__}); see the actor's log")
    return UnavailableError(f"an actor could not be kept alive ({type(error).__name__}); run it again to go on")
