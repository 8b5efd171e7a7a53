"""Where a slot replica is asked: bytes in, bytes out, so that a router passes an answer on without reading it."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from acgs.errors import AcgsError, InvalidInputError
from acgs.serving.batching import RetiredError, Worker
from acgs.serving.keeper import Keeper, NotHeldError
from acgs.serving.runtimes.runtime import ModelFailedError, ModelRefusedError, Predictions

SMALL_BYTES: Final = 4096
"""Longer questions always go to the model's thread, so that none holds the replica up."""


class ReplyKind(StrEnum):
    """What became of a question."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The caller has to mend it."""
    FAILED = "failed"
    """The model gave no answer."""
    MODEL_REFUSED = "model_refused"
    """The same, though the instances satisfy the version's input schema."""
    NOT_HELD = "not_held"
    """The replica does not hold the version."""


class Reply(NamedTuple):
    """A slot's word. `version` is that of the object which computed the answer."""

    kind: ReplyKind
    version: str
    body: bytes


class Desk:
    """Answers for what a keeper holds."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def ask(self, model: str, version: str, question: bytes) -> Reply:
        """Predict in the model's thread. `question` is what `question_of` made."""
        try:
            worker, instances, parameters = self._read(model, version, question)
            found = await asyncio.wrap_future(worker.submit(instances, parameters))
            return Reply(ReplyKind.ANSWERED, worker.served.version, _answer(found))
        except Exception as error:  # noqa: BLE001 - whoever asks must hear of it, whatever it is
            return _refusal(version, error)

    def ask_here(self, model: str, version: str, question: bytes) -> Reply | None:
        """Predict in the calling thread, or say none where that might take long. For a caller that asks alone."""
        if len(question) > SMALL_BYTES:
            return None
        try:
            worker, instances, parameters = self._read(model, version, question)
            found = worker.ask_here(instances, parameters)
            return None if found is None else Reply(ReplyKind.ANSWERED, worker.served.version, _answer(found))
        except Exception as error:  # noqa: BLE001 - as above
            return _refusal(version, error)

    def describe(self, model: str, version: str) -> dict[str, Any]:
        """Kind and schemas of a version; empty where this replica does not hold it."""
        try:
            return self._keeper.worker(model, version).served.description()
        except NotHeldError:
            return {}

    def _read(self, model: str, version: str, question: bytes) -> tuple[Worker, list[Any], dict[str, Any]]:
        worker, asked = self._keeper.worker(model, version), orjson.loads(question)
        return worker, asked["instances"], asked["parameters"]


def question_of(instances: list[Any], parameters: dict[str, Any]) -> bytes:
    """What `Desk.ask` reads."""
    return orjson.dumps({"instances": instances, "parameters": parameters})


def error_of(reply: Reply) -> tuple[str, str, str | None]:
    """Code, message and field of a reply that is no answer."""
    found = orjson.loads(reply.body)
    return found["code"], found["message"], found["field"]


def _answer(found: Predictions) -> bytes:
    answer: dict[str, Any] = {**found.facts, "predictions": found.values}
    if found.probabilities is not None:
        answer["probabilities"] = found.probabilities
    return orjson.dumps(answer)


def _refusal(version: str, error: Exception) -> Reply:
    match error:
        case NotHeldError() | RetiredError():
            return Reply(ReplyKind.NOT_HELD, "", _error(error))
        case ModelRefusedError():
            return Reply(ReplyKind.MODEL_REFUSED, version, _error(error))
        case InvalidInputError():
            return Reply(ReplyKind.REFUSED, version, _error(error))
        case AcgsError():
            return Reply(ReplyKind.FAILED, version, _error(error))
    return Reply(ReplyKind.FAILED, version, _error(ModelFailedError(type(error).__name__)))


def _error(error: AcgsError) -> bytes:
    return orjson.dumps({"code": error.code, "message": error.message, "field": error.field})
