"""A slot's replica holds what the table says, once it is proven, and the old version until then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from acgs.errors import InvalidInputError, UnavailableError
from acgs.serving import keeper as keeping
from acgs.serving.keeper import Keeper, NotHeldError
from acgs.serving.replicas import Phase
from acgs.serving.routing import ModelRoute, RoutingTable, Slot
from acgs.serving.served import ServedVersion
from tests.acgs.serving.doubles import StandIn, version


def table(epoch: int, blue: str | None) -> RoutingTable:
    return RoutingTable(epoch=epoch, models={"triage": ModelRoute(blue=blue, green="9.9.9")})


class Loads:
    """Loads stand-ins; a test may hold up or break any version."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.faults: dict[str, list[Exception]] = {}
        self.runtimes: dict[str, StandIn] = {}

    def __call__(self, _model: str, name: str) -> ServedVersion:
        self.asked.append(name)
        if name in self.gates:
            assert self.gates[name].wait(60)
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        self.runtimes[name] = StandIn()
        return version(self.runtimes[name], name)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def blue(loads: Loads) -> Iterator[Keeper]:
    keeper = Keeper(Slot.BLUE, loads, lambda: None)
    yield keeper
    for gate in loads.gates.values():
        gate.set()
    keeper.close()


def wait_for(fact: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def held(keeper: Keeper) -> list[tuple[str, Phase]]:
    return [(item.version, item.phase) for item in keeper.holdings()]


def test_the_version_of_the_own_slot_is_loaded_and_answers(blue: Keeper) -> None:
    blue.follow(table(1, "1.0.0"))
    assert blue.settle(60)
    assert held(blue) == [("1.0.0", Phase.READY)]
    assert blue.holdings()[0].load_seconds is not None
    assert blue.worker("triage", "1.0.0").submit([1], {}).result(60).values == [2]


def test_the_old_version_answers_until_the_new_one_is_proven(blue: Keeper, loads: Loads) -> None:
    blue.follow(table(1, "1.0.0"))
    blue.settle(60)
    loads.gates["2.0.0"] = threading.Event()
    blue.follow(table(2, "2.0.0"))
    wait_for(lambda: "2.0.0" in loads.asked)
    old = blue.worker("triage", "1.0.0")
    with pytest.raises(NotHeldError, match="still being loaded"):
        blue.worker("triage", "2.0.0")
    assert held(blue) == [("2.0.0", Phase.LOADING)]
    loads.gates["2.0.0"].set()
    assert blue.settle(60)
    assert blue.worker("triage", "2.0.0").served.version == "2.0.0"
    with pytest.raises(NotHeldError, match=r"holds 2\.0\.0 of triage, not 1\.0\.0"):
        blue.worker("triage", "1.0.0")
    assert old.join(60)
    assert loads.runtimes["1.0.0"].closed.is_set()


def test_a_broken_version_is_never_ready_and_the_old_one_stays(blue: Keeper, loads: Loads) -> None:
    blue.follow(table(1, "1.0.0"))
    blue.settle(60)
    loads.faults["2.0.0"] = [InvalidInputError("no such file")]
    blue.follow(table(2, "2.0.0"))
    assert blue.settle(60)
    assert held(blue) == [("2.0.0", Phase.FAILED)]
    assert blue.holdings()[0].reason == "no such file"
    with pytest.raises(NotHeldError, match="no such file"):
        blue.worker("triage", "2.0.0")
    assert blue.worker("triage", "1.0.0").submit([1], {}).result(60).values == [2]
    blue.follow(table(3, "1.0.0"))
    assert held(blue) == [("1.0.0", Phase.READY)]
    assert loads.asked == ["1.0.0", "2.0.0"]


def test_a_load_that_the_table_has_overtaken_is_dropped(blue: Keeper, loads: Loads) -> None:
    loads.gates["1.0.0"] = threading.Event()
    blue.follow(table(1, "1.0.0"))
    wait_for(lambda: loads.asked)
    blue.follow(table(2, "2.0.0"))
    loads.gates["1.0.0"].set()
    assert blue.settle(60)
    assert held(blue) == [("2.0.0", Phase.READY)]
    assert loads.runtimes["1.0.0"].closed.wait(60)


def test_what_may_pass_is_tried_again(blue: Keeper, loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "FIRST_RETRY_SECONDS", 0.01)
    loads.faults["1.0.0"] = [UnavailableError("S3 is down"), UnavailableError("S3 is down")]
    blue.follow(table(1, "1.0.0"))
    wait_for(lambda: held(blue) == [("1.0.0", Phase.READY)])
    assert loads.asked == ["1.0.0"] * 3


def test_a_model_that_left_the_table_is_let_go(blue: Keeper, loads: Loads) -> None:
    blue.follow(table(1, "1.0.0"))
    blue.settle(60)
    blue.follow(RoutingTable(epoch=2))
    assert loads.runtimes["1.0.0"].closed.wait(60)
    assert held(blue) == []
    with pytest.raises(NotHeldError, match="holds nothing of triage"):
        blue.worker("triage", "1.0.0")
