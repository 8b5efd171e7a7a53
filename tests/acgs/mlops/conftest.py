"""Slots and a router in this process: they load, answer and report as replicas on a cluster do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acgs.mlops import MLOpsManager
from acgs.serving.keeper import Keeper, loader
from acgs.serving.replicas import ReplicaState
from acgs.serving.reporting import Reporter
from acgs.serving.routing import Slot, choose
from acgs.serving.watching import TableWatch
from acgs.serving.windows import Outcomes
from acgs.settings import Settings


class SlotInProcess:
    """One replica of one slot."""

    def __init__(self, manager: MLOpsManager, slot: Slot) -> None:
        self._slot, self._started = slot, time.time()
        self._reporter = Reporter(manager.serving, self._state, heartbeat_seconds=0.2)
        fetch = loader(lambda model, version: manager.registry.fetch(f"{model}@{version}"))
        self.keeper = Keeper(slot, fetch, self._reporter.changed)
        self._watch = TableWatch(manager.serving, self.keeper.follow, poll_seconds=0.05)
        self._watch.start()
        self._reporter.start()

    def close(self) -> None:
        self._watch.stop()
        self._reporter.stop()
        self.keeper.close()

    def _state(self) -> ReplicaState:
        epoch = self._watch.table.epoch
        holdings = self.keeper.holdings()
        return ReplicaState(f"slot-{self._slot}", "Slot", self._slot, epoch, self._started, time.time(), holdings)


class Platform:
    """A manager, both slots, and a router that asks them and counts."""

    def __init__(self, settings: Settings) -> None:
        self.manager = MLOpsManager(settings)
        self.slots = {slot: SlotInProcess(self.manager, slot) for slot in Slot}
        self.outcomes = Outcomes("router-1", seed=0)
        self.epoch = 0
        self._router = Reporter(self.manager.serving, self._state, heartbeat_seconds=0.2)
        self._router.start()

    def ask(self, model: str, instance: Any, key: str = "mia") -> tuple[str, Any]:
        """One request: the version that answered, and its answer. It is counted as a router counts."""
        table = self.manager.serving.latest()
        choice = choose(table, model, key)
        worker = self.slots[choice.slot].keeper.worker(model, choice.version)
        started = time.perf_counter()
        try:
            answer = worker.served.predict([instance], {}).values[0]
        except Exception:
            self.outcomes.failed(model, choice.version, choice.slot)
            raise
        self.outcomes.answered(model, choice.version, choice.slot, time.perf_counter() - started)
        return choice.version, answer

    def count(self) -> None:
        """Hand the windows over, as a router does each second."""
        self.manager.serving.record(self.outcomes.take())

    def close(self) -> None:
        self._router.stop()
        for slot in self.slots.values():
            slot.close()

    def _state(self) -> ReplicaState:
        self.epoch = self.manager.serving.epoch()
        return ReplicaState("router-1", "Router", None, self.epoch, 0.0, time.time())


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    running = Platform(Settings(state_dir=tmp_path / "state"))
    yield running
    running.close()
