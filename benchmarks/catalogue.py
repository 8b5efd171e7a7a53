"""The registry's index: creating a version of 1 MB, and finding among 10,000 (GTO, with tags as its index: 6 to 12 s).

`python -m benchmarks.catalogue [--versions 10000] [--creates 40] [--json]`. A create is everything: files sealed and
stored, both statements signed, the row and its event committed, the audit journal on disk. It takes turns with the same
bytes written and synced to one file (the disk's share). The 10,000 are kept by the same code, with small manifests.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file
from semver import Version

from acgs.constitution.source import load_locked
from acgs.files import write_atomic
from acgs.registry.catalogue import Record
from acgs.registry.describing import describe
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.opening import open_registry
from acgs.registry.registry import CREATED, Registry
from acgs.registry.semver import VersionPolicy, successor
from acgs.settings import Settings
from benchmarks.registry import MEGABYTE, spread, timed

MODELS = 20
LOOKUPS = 200
MAX_CREATE_MS = 30
MAX_LOOKUP_MS = 50


def creates(registry: Registry, work: Path, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of whole creates, and of writing and syncing the same bytes."""
    constitution, description = load_locked(), describe({"kind": "files"})
    whole, disk = [], []
    for index in range(count):
        rng = np.random.default_rng(index)
        path = work / "model.safetensors"
        save_file({"w": rng.random(MEGABYTE // 4, np.float32)}, path)
        create = partial(registry.create, "small", path, description, actor="bench", constitution=constitution)
        whole.append(timed(create) * 1e3)
        disk.append(timed(partial(write_atomic, work / "plain.bin", path.read_bytes())) * 1e3)
    return whole, disk


def fill(registry: Registry, count: int) -> float:
    """Keep `count` versions of `MODELS` models; seconds each."""
    sample = registry.get("small")

    def make(name: str, version: Version) -> tuple[Record, LifecycleEvent]:
        facts = sample.facts.model_copy(update={"name": name, "version": str(version)})
        return Record(facts, sample.manifest, sample.signatures), LifecycleEvent(CREATED, "bench", name, str(version))

    def choose(highest: Version | None) -> Version:
        return successor(highest, VersionPolicy.PATCH)

    started = time.perf_counter()
    for index in range(count):
        name = f"model-{index % MODELS:02d}"
        registry.catalogue.register(name, choose, partial(make, name))
    return (time.perf_counter() - started) / count


def lookups(registry: Registry, count: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of look-up, taking turns."""
    of_model = count // MODELS
    actions: dict[str, Callable[[int], object]] = {
        "resolve name@version": lambda turn: registry.get(f"model-{turn % MODELS:02d}@1.0.{turn % of_model}"),
        "resolve latest": lambda turn: registry.get(f"model-{turn % MODELS:02d}"),
        "list one model, 100 lines": lambda turn: registry.find(f"model-{turn % MODELS:02d}", limit=100),
        "list all, 100 lines": lambda _: registry.find(limit=100),
        "list all, every line": lambda _: registry.find(),
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(LOOKUPS):
        for name, action in actions.items():
            times[name].append(timed(partial(action, turn)) * 1e3)
    return times


def run(versions: int, count: int) -> dict[str, Any]:
    """Every figure, in milliseconds."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="acgs-bench-") as name:
        registry = open_registry(Settings(state_dir=Path(name) / "state"))
        whole, disk = creates(registry, Path(name), count)
        each = fill(registry, versions)
        found = lookups(registry, versions)
    return {
        "versions": versions,
        "load": [before, os.getloadavg()[0]],
        "create_ms": spread(whole),
        "write_and_sync_ms": spread(disk),
        "keep_ms_each": each * 1e3,
        "lookup_ms": {what: spread(times) for what, times in found.items()},
    }


def main() -> int:
    """Print the table; the exit code is 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000, choices=range(MODELS, 100_001), metavar="20..100000")
    parser.add_argument("--creates", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    found = run(arguments.versions, arguments.creates)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    slowest = max(found["lookup_ms"][what]["p50"] for what in found["lookup_ms"] if what != "list all, every line")
    return int(found["create_ms"]["p50"] > MAX_CREATE_MS or slowest > MAX_LOOKUP_MS)


def show(found: dict[str, Any]) -> None:
    """The table for people."""
    load = " -> ".join(f"{value:.1f}" for value in found["load"])
    table = Table(title=f"Registry with {found['versions']:,} versions, load {load}")
    for heading in ("what", "n", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    rows = {"create, 1 MB": found["create_ms"], "write and sync the same bytes": found["write_and_sync_ms"]}
    for what, values in (rows | found["lookup_ms"]).items():
        table.add_row(what, str(values["n"]), f"{values['p50']:.2f}", f"{values['p99']:.2f}")
    console = Console()
    console.print(table)
    console.print(f"keeping a version (row, event, commit): {found['keep_ms_each']:.2f} ms each")
    console.print(f"targets: create p50 <= {MAX_CREATE_MS} ms, look-ups p50 < {MAX_LOOKUP_MS} ms")


if __name__ == "__main__":
    raise SystemExit(main())
