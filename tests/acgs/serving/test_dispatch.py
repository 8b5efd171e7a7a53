"""Requests reach the slot that the table names, and an answer is only passed on if it is of the version it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest

from acgs.errors import InvalidInputError, UnavailableError
from acgs.serving.desk import Reply, ReplyKind, question_of
from acgs.serving.dispatch import MAX_SHADOWS, Answered, Ask, Dispatcher, SlotBusyError
from acgs.serving.routing import ModelRoute, RoutingTable, Slot
from acgs.serving.runtimes.runtime import ModelFailedError
from acgs.serving.windows import Outcomes, OutcomeWindow


def table(epoch: int = 1, **route: object) -> RoutingTable:
    fields = {"blue": "1.0.0", "green": "2.0.0", **route}
    return RoutingTable(epoch=epoch, models={"triage": ModelRoute.model_validate(fields)})


def error(kind: ReplyKind, message: str, field: str | None = None) -> Reply:
    return Reply(kind, "1.0.0", orjson.dumps({"code": kind, "message": message, "field": field}))


class Slots:
    """Two slots whose words a test chooses; each says what version it holds."""

    def __init__(self) -> None:
        self.holds = {Slot.BLUE: "1.0.0", Slot.GREEN: "2.0.0"}
        self.says: dict[Slot, Callable[[], Reply]] = {}
        self.asked: list[Slot] = []
        self.predictions = {Slot.BLUE: [1.0], Slot.GREEN: [1.0]}
        self.hold_up: asyncio.Event | None = None
        self.table = table()
        self.next_table: RoutingTable | None = None
        self.outcomes = Outcomes("r1")
        asks = {slot: self._ask_of(slot) for slot in Slot}
        self.dispatcher = Dispatcher(lambda: self.table, self.refresh, asks, self.outcomes, timeout_seconds=60)

    def refresh(self) -> None:
        self.table = self.next_table or self.table

    def _ask_of(self, slot: Slot) -> Ask:
        async def ask(_model: str, version: str, _question: bytes) -> Reply:
            self.asked.append(slot)
            if self.hold_up is not None and slot is Slot.GREEN:
                await self.hold_up.wait()
            if slot in self.says:
                return self.says[slot]()
            if self.holds[slot] != version:
                return error(ReplyKind.NOT_HELD, f"slot {slot} holds {self.holds[slot]}")
            return Reply(ReplyKind.ANSWERED, version, orjson.dumps({"predictions": self.predictions[slot]}))

        return ask

    def predict(self, times: int = 1) -> Answered:
        async def run() -> Answered:
            for _ in range(times):
                answered = await self.dispatcher.predict("triage", "key", question_of([1], {}))
            while self.dispatcher.copies:
                if self.hold_up is not None:
                    self.hold_up.set()
                await asyncio.sleep(0)
            return answered

        return asyncio.run(run())

    def window(self, version: str) -> OutcomeWindow:
        return next(item for item in self.outcomes.take() if item.version == version)


@pytest.fixture
def slots() -> Slots:
    return Slots()


def lost() -> Reply:
    raise UnavailableError("the slot was lost")


def test_an_answer_says_version_slot_and_epoch(slots: Slots) -> None:
    answered = slots.predict()
    assert (answered.version, answered.slot, answered.epoch) == ("1.0.0", Slot.BLUE, 1)
    window = slots.window("1.0.0")
    assert (window.requests, window.errors, len(window.latencies)) == (1, 0, 1)


def test_a_slot_that_moved_on_sends_the_router_to_the_newer_table(slots: Slots) -> None:
    slots.holds[Slot.BLUE] = "3.0.0"
    slots.next_table = table(2, blue="3.0.0", live="green")
    answered = slots.predict()
    assert (answered.version, answered.slot, answered.epoch) == ("2.0.0", Slot.GREEN, 2)


def test_an_answer_of_another_version_is_never_passed_on(slots: Slots) -> None:
    slots.says[Slot.BLUE] = lambda: Reply(ReplyKind.ANSWERED, "1.1.0", b'{"predictions":[1]}')
    with pytest.raises(UnavailableError, match=r"answered for version 1\.1\.0, not 1\.0\.0"):
        slots.predict()
    assert slots.window("1.0.0").errors == 1


def test_a_lost_slot_is_stood_in_for_by_one_with_the_very_same_version(slots: Slots) -> None:
    slots.says[Slot.BLUE] = lost
    slots.table, slots.holds[Slot.GREEN] = table(green="1.0.0"), "1.0.0"
    answered = slots.predict()
    assert (answered.version, answered.slot) == ("1.0.0", Slot.GREEN)


def test_a_lost_slot_is_not_stood_in_for_by_another_version(slots: Slots) -> None:
    slots.says[Slot.BLUE] = lost
    with pytest.raises(UnavailableError, match="the slot was lost"):
        slots.predict()
    assert set(slots.asked) == {Slot.BLUE}
    window = slots.window("1.0.0")
    assert (window.requests, window.errors) == (1, 1)


def test_a_slot_that_comes_back_answers_the_request_that_found_it_lost(slots: Slots) -> None:
    def lost_once() -> Reply:
        del slots.says[Slot.BLUE]
        return lost()

    slots.says[Slot.BLUE] = lost_once
    assert slots.predict().version == "1.0.0"


def full() -> Reply:
    raise SlotBusyError("the slot is full")


def test_a_slot_that_is_full_is_not_asked_again(slots: Slots) -> None:
    slots.says[Slot.BLUE] = full
    with pytest.raises(UnavailableError, match="full"):
        slots.predict()
    assert slots.asked == [Slot.BLUE]
    assert slots.window("1.0.0").errors == 1


def test_what_the_caller_has_to_mend_is_no_error_of_the_model(slots: Slots) -> None:
    slots.says[Slot.BLUE] = lambda: error(ReplyKind.REFUSED, "instances.0.age: is missing", "instances.0.age")
    with pytest.raises(InvalidInputError) as caught:
        slots.predict()
    assert caught.value.field == "instances.0.age"
    assert slots.outcomes.take() == []


@pytest.mark.parametrize(("other", "counted"), [("answers", 1), ("minds it too", 0), ("is empty", 0)])
def test_what_only_the_model_minds_counts_against_it_where_the_other_version_answers(
    slots: Slots, other: str, counted: int
) -> None:
    slots.says[Slot.BLUE] = lambda: error(ReplyKind.MODEL_REFUSED, "the model cannot take these", "instances")
    if other == "minds it too":
        slots.says[Slot.GREEN] = slots.says[Slot.BLUE]
    if other == "is empty":
        slots.table = table(green=None)

    async def run() -> None:
        with pytest.raises(InvalidInputError) as caught:
            await slots.dispatcher.predict("triage", "key", question_of([1], {}))
        assert caught.value.field == "instances"
        while slots.dispatcher.copies:
            await asyncio.sleep(0)

    asyncio.run(run())
    assert sum(window.errors for window in slots.outcomes.take()) == counted


def test_a_model_that_fails_is_counted_and_not_asked_again(slots: Slots) -> None:
    slots.says[Slot.BLUE] = lambda: error(ReplyKind.FAILED, "broken")
    with pytest.raises(ModelFailedError, match="broken"):
        slots.predict()
    assert slots.asked == [Slot.BLUE]
    assert slots.window("1.0.0").errors == 1


@pytest.mark.parametrize(("predictions", "agreed"), [([1.0 + 1e-9], 1), ([2.0], 0), ([1.0, 1.0], 0)])
def test_the_shadow_gets_a_copy_whose_answer_is_only_compared(
    slots: Slots, predictions: list[float], agreed: int
) -> None:
    slots.table, slots.predictions[Slot.GREEN] = table(shadow=True), predictions
    assert slots.predict().version == "1.0.0"
    assert slots.asked == [Slot.BLUE, Slot.GREEN]
    window = slots.window("2.0.0")
    assert (window.requests, window.shadow_requests, window.shadow_agreed) == (0, 1, agreed)


def test_a_shadow_that_is_lost_or_slow_costs_nobody_anything(slots: Slots) -> None:
    slots.table = table(shadow=True)
    slots.says[Slot.GREEN] = lost
    assert slots.predict().version == "1.0.0"
    assert slots.window("2.0.0").shadow_errors == 1
    del slots.says[Slot.GREEN]
    slots.asked.clear()
    slots.hold_up = asyncio.Event()
    slots.predict(times=MAX_SHADOWS + 5)
    assert (slots.asked.count(Slot.BLUE), slots.asked.count(Slot.GREEN)) == (MAX_SHADOWS + 5, MAX_SHADOWS)
    window = slots.window("2.0.0")
    assert (window.shadow_requests, window.shadow_dropped) == (MAX_SHADOWS, 5)


def broken() -> Reply:
    raise RuntimeError("nobody thought of this")


@pytest.mark.parametrize(
    ("says", "counted"),
    [
        (lambda: Reply(ReplyKind.ANSWERED, "2.0.0", b'{"predictions":[1.0]}'), (5, 5, 0, 0)),
        (lambda: Reply(ReplyKind.ANSWERED, "2.0.0", b'{"predictions":[2.0]}'), (5, 0, 0, 0)),
        (lambda: Reply(ReplyKind.ANSWERED, "2.0.0", b"{}"), (5, 0, 5, 0)),
        (lambda: Reply(ReplyKind.ANSWERED, "3.0.0", b'{"predictions":[1.0]}'), (5, 0, 5, 0)),
        (lambda: error(ReplyKind.NOT_HELD, "slot green holds nothing"), (5, 0, 5, 0)),
        (lost, (5, 0, 5, 0)),
        (broken, (5, 0, 5, 0)),
        (full, (0, 0, 0, 5)),
    ],
)
def test_every_copy_is_counted_whatever_becomes_of_it(
    slots: Slots, says: Callable[[], Reply], counted: tuple[int, int, int, int]
) -> None:
    slots.table, slots.says[Slot.GREEN] = table(shadow=True), says
    assert slots.predict(times=5).version == "1.0.0"
    window = slots.window("2.0.0")
    assert (window.shadow_requests, window.shadow_agreed, window.shadow_errors, window.shadow_dropped) == counted


def test_copies_that_the_end_cuts_off_are_counted_as_dropped(slots: Slots) -> None:
    async def run() -> None:
        slots.hold_up = asyncio.Event()
        for _ in range(3):
            await slots.dispatcher.predict("triage", "key", question_of([1], {}))
        await slots.dispatcher.close()

    slots.table = table(shadow=True)
    asyncio.run(run())
    assert slots.window("2.0.0").shadow_dropped == 3


def test_a_failure_that_nobody_thought_of_counts_against_the_version(slots: Slots) -> None:
    slots.says[Slot.BLUE] = broken
    with pytest.raises(RuntimeError):
        slots.predict()
    assert slots.window("1.0.0").errors == 1
