"""What replicas report decides whether a flip is done and a slot ready; silence never does."""

from __future__ import annotations

import pytest

from acgs.serving.replicas import Holding, Phase, ReplicaState, routers_on, slot_readiness
from acgs.serving.routing import Slot


def router(epoch: int) -> ReplicaState:
    return ReplicaState(f"r{epoch}", "ModelRouter", None, epoch, 0.0, 0.0)


def blue(*phases: Phase, version: str = "1.0.0") -> ReplicaState:
    held = tuple(Holding(model="m", version=version, phase=phase, reason="broken") for phase in phases)
    return ReplicaState("b", "SlotBlue", Slot.BLUE, 9, 0.0, 0.0, held)


@pytest.mark.parametrize(
    ("replicas", "done"),
    [
        ([], False),
        ([blue(Phase.READY)], False),
        ([router(3)], True),
        ([router(4), blue(Phase.READY)], True),
        ([router(3), router(2)], False),
    ],
)
def test_a_flip_is_done_when_there_are_routers_and_all_have_the_table(replicas: list[ReplicaState], done: bool) -> None:
    assert routers_on(replicas, 3) is done


@pytest.mark.parametrize(
    ("replicas", "reason"),
    [
        ([], "no live replica"),
        ([router(3)], "no live replica"),
        ([blue()], "still loading"),
        ([blue(Phase.LOADING)], "still loading"),
        ([blue(Phase.READY), blue()], "1 of 2 replicas"),
        ([blue(Phase.READY, version="2.0.0")], "still loading"),
        ([blue(Phase.READY), blue(Phase.FAILED)], "failed in slot blue: broken"),
    ],
)
def test_a_slot_is_not_ready_until_all_its_replicas_are(replicas: list[ReplicaState], reason: str) -> None:
    found = slot_readiness(replicas, Slot.BLUE, "m", "1.0.0")
    assert not found.ready
    assert reason in found.reason
    assert slot_readiness([blue(Phase.READY), blue(Phase.READY)], Slot.BLUE, "m", "1.0.0").ready
