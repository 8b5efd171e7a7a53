"""One request through the table: chosen slot, honest answer, or a reason. Copies for the shadow go out beside it.

The version in an answer is the one that computed it. A slot that does not hold what the table says is not believed:
the table is read again, and then the request fails with the slot's own reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import orjson
import structlog

from acgs.errors import AcgsError, InvalidInputError, UnavailableError
from acgs.serving.desk import Reply, ReplyKind, error_of
from acgs.serving.routing import Choice, RoutingTable, Slot, UnknownModelError, choose
from acgs.serving.runtimes.runtime import ModelFailedError
from acgs.serving.windows import Copy, Outcomes, agree

MAX_SHADOWS: Final = 32
"""Copies under way at once; beyond it requests go without, so that a slow candidate costs nobody anything."""
_ROUNDS: Final = 3
"""Tries of one request. Predictions change nothing, so asking again is safe."""


class SlotBusyError(UnavailableError):
    """The slot has as many requests as it takes; asking again would only add to them."""


Ask = Callable[[str, str, bytes], Awaitable[Reply]]
"""Model, version, question. Raises `UnavailableError` where the slot cannot be reached."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and where it is from. `body` is a JSON object with `predictions`."""

    version: str
    slot: Slot
    epoch: int
    body: bytes
    seconds: float


class Dispatcher:
    """Sends requests to slots. Used within one event loop."""

    def __init__(
        self,
        table: Callable[[], RoutingTable],
        refresh: Callable[[], None],
        slots: Mapping[Slot, Ask],
        outcomes: Outcomes,
        *,
        timeout_seconds: float,
    ) -> None:
        """`refresh` looks for a newer table and may block; it is called in a thread."""
        self._table = table
        self._refresh = refresh
        self._slots = slots
        self._outcomes = outcomes
        self._timeout = timeout_seconds
        self._shadows: set[asyncio.Task[Copy]] = set()
        self._weighed: set[asyncio.Task[None]] = set()

    async def predict(self, model: str, key: str, question: bytes) -> Answered:
        """Ask the slot that the table in force names for `key`.

        Raises:
            UnknownModelError: there is no such model.
            InvalidInputError: the question does not satisfy the model's schema; `field` says where.
            ModelFailedError: the model gave no answer.
            UnavailableError: nothing is deployed, or no slot that has the version can be reached.
        """
        started = perf_counter()
        choice = choose(self._table(), model, key)
        try:
            async with asyncio.timeout(self._timeout):
                choice, slot, reply = await self._asked(model, key, question, choice)
        except TimeoutError:
            self._outcomes.failed(model, choice.version, choice.slot)
            raise UnavailableError(f"{model} {choice.version} did not answer within {self._timeout:g} s") from None
        except UnknownModelError:
            raise  # the table lost it in the meantime
        except Exception:
            # Whatever it was, the version gave no answer, and the guards must see it.
            self._outcomes.failed(model, choice.version, choice.slot)
            raise
        if reply.kind is ReplyKind.MODEL_REFUSED:
            self._weigh(model, slot, reply.version, question)
        if reply.kind is not ReplyKind.ANSWERED:
            raise self._refusal(model, slot, reply)
        seconds = perf_counter() - started
        self._outcomes.answered(model, reply.version, slot, seconds)
        if choice.shadow is not None:
            self._send_copy(model, choice.shadow, question, reply.body)
        return Answered(reply.version, slot, choice.epoch, reply.body, seconds)

    @property
    def copies(self) -> int:
        """Copies that are under way: for a shadow, or to weigh what a model minded."""
        return len(self._shadows) + len(self._weighed)

    async def close(self) -> None:
        """Drop the copies under way."""
        under_way = [*self._shadows, *self._weighed]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _asked(self, model: str, key: str, question: bytes, choice: Choice) -> tuple[Choice, Slot, Reply]:
        reason = ""
        for attempt in range(_ROUNDS):
            if attempt:
                await asyncio.to_thread(self._look_again)
                choice = choose(self._table(), model, key)
            for slot in (choice.slot, choice.also_in):
                if slot is None:
                    continue
                try:
                    reply = await self._slots[slot](model, choice.version, question)
                except SlotBusyError:
                    raise
                except UnavailableError as error:
                    reason = error.message
                    continue
                if reply.kind is ReplyKind.NOT_HELD:
                    reason = error_of(reply)[1]
                elif reply.version == choice.version:
                    return choice, slot, reply
                else:
                    reason = f"slot {slot} answered for version {reply.version}, not {choice.version}"
        raise UnavailableError(reason, field="model")

    def _look_again(self) -> None:
        # A store that cannot be read leaves the table as it is; the slot may hold the version by the next try.
        try:
            self._refresh()
        except AcgsError:
            return

    def _refusal(self, model: str, slot: Slot, reply: Reply) -> AcgsError:
        _code, message, field = error_of(reply)
        if reply.kind is ReplyKind.REFUSED:
            return InvalidInputError(message, field=field)
        if reply.kind is ReplyKind.MODEL_REFUSED:
            return InvalidInputError(message, field=field)
        self._outcomes.failed(model, reply.version, slot)
        return ModelFailedError(message, field=field)

    def _weigh(self, model: str, slot: Slot, version: str, question: bytes) -> None:
        """Count a question that the model minded against it, if the version in the other slot can answer it.

        Who asks must not be able to take a release back with questions that no version answers.
        """
        route = self._table().models.get(model)
        other = None if route is None else route.version_in(slot.other)
        if other is None or other == version or len(self._weighed) >= MAX_SHADOWS:
            return

        async def ask() -> None:
            with suppress(TimeoutError, UnavailableError):
                async with asyncio.timeout(self._timeout):
                    reply = await self._slots[slot.other](model, other, question)
                if reply.kind is ReplyKind.ANSWERED:
                    self._outcomes.failed(model, version, slot)

        task = asyncio.create_task(ask())
        self._weighed.add(task)
        task.add_done_callback(self._weighed.discard)

    def _send_copy(self, model: str, target: tuple[Slot, str], question: bytes, live: bytes) -> None:
        """Send a copy on its way; every one is counted once, whatever becomes of it."""
        slot, version = target

        def count(task: asyncio.Task[Copy]) -> None:
            self._shadows.discard(task)
            self._outcomes.shadowed(model, version, slot, Copy.DROPPED if task.cancelled() else task.result())

        if len(self._shadows) >= MAX_SHADOWS:
            self._outcomes.shadowed(model, version, slot, Copy.DROPPED)
            return
        task = asyncio.create_task(self._copy(model, target, question, live))
        self._shadows.add(task)
        task.add_done_callback(count)

    async def _copy(self, model: str, target: tuple[Slot, str], question: bytes, live: bytes) -> Copy:
        slot, version = target
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._slots[slot](model, version, question)
            if reply.kind is not ReplyKind.ANSWERED or reply.version != version:
                return Copy.FAILED
            return Copy.AGREED if agree(_predictions(live), _predictions(reply.body)) else Copy.DIFFERED
        except SlotBusyError:
            return Copy.DROPPED
        except (TimeoutError, UnavailableError):
            return Copy.FAILED
        except Exception as error:  # noqa: BLE001 - nobody awaits a copy: what is not told here is never heard of
            structlog.get_logger("models").error(
                "copy for the shadow failed", model=model, version=version, error_type=type(error).__name__
            )
            return Copy.FAILED


def _predictions(body: bytes) -> Any:
    return orjson.loads(body)["predictions"]
