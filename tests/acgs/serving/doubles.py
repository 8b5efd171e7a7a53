"""Models that do as a test says, and a store in memory: for what does not need a real one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acgs.serving.package import Descriptor, Kind, Package, Probe
from acgs.serving.runtimes.runtime import ModelFailedError, Predictions
from acgs.serving.schemas import Schema
from acgs.serving.served import ServedVersion


class StandIn:
    """Doubles numbers. -1 makes the model fail; with `gate` it waits before it answers."""

    def __init__(self, *, joins: bool = True, brief: bool = True, gate: threading.Event | None = None) -> None:
        self.joins = joins
        self.brief = brief
        self.calls: list[int] = []
        self.threads: list[threading.Thread] = []
        """Those that asked, call by call."""
        self.entered = threading.Event()
        self.closed = threading.Event()
        self._gate = gate

    def predict(self, instances: Sequence[Any], parameters: Mapping[str, Any]) -> Predictions:
        self.calls.append(len(instances))
        self.threads.append(threading.current_thread())
        self.entered.set()
        if self._gate is not None:
            assert self._gate.wait(60)
        if -1 in instances:
            raise ModelFailedError("minus one")
        factor = parameters.get("factor", 2)
        return Predictions([factor * value for value in instances])

    def close(self) -> None:
        self.closed.set()


def version(runtime: StandIn, name: str = "1.0.0") -> ServedVersion:
    number: dict[str, Any] = {"type": "number"}
    descriptor = Descriptor(
        format="acgs-model/1", kind=Kind.ONNX, entry="x", input=number, output=number,
        probes=(Probe(instances=[1]),),
    )  # fmt: skip
    package = Package(Path("nowhere"), descriptor, Schema(number, field="input"), Schema(number, field="output"))
    return ServedVersion("triage", name, package, runtime)
