"""Blue and green under load: how long a flip takes, what it loses or mixes up, and what the router costs.

`python -m benchmarks.blue_green` starts a cluster of its own on loopback, with two router replicas, and stops it again.
The load is open-loop: requests leave by the clock, whether or not earlier ones came back.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import yaml
from rich.console import Console
from rich.table import Table

from acgs.cli.local_cluster import ClusterControl, LocalCluster, free_port
from acgs.serving.packing import pack_sklearn
from acgs.serving.replicas import LOST_AFTER_SECONDS, ReplicaState, routers_on, slot_readiness
from acgs.serving.routing import ModelRoute, Slot
from acgs.serving.sql_store import SqlServingStore
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade
from benchmarks.bare_model import constant_model
from benchmarks.http import REPOSITORY, percentiles
from benchmarks.noop import declaration

MODEL = "constant"
VALUES = {"1.0.0": 1.0, "2.0.0": 2.0}
BODY = json.dumps({"instances": [[0.5, 0.5]]}).encode()
HEADERS = {"content-type": "application/json"}
ROUTES = {"no-op": "/noop/", "bare model": "/bare_model/", "predict": f"/models/{MODEL}/predict"}
TARGET_RATE = 200.0
SHARE_OF_CAPACITY = 0.7
"""Above it an open loop only measures its own queue."""
MAX_OUTSTANDING = 96
WAIT_SECONDS = 300.0
ROUTERS = 2


def write_models(folder: Path) -> None:
    """Two versions whose answers tell them apart."""
    row = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    for version, value in VALUES.items():
        model, place = constant_model(value), folder / MODEL / version
        pack_sklearn(model, place, instance=row, prediction={"type": "number"}, probes=[[[0.0, 1.0]]])


def configuration(folder: Path) -> Path:
    """The shipped models application, always on, beside its baselines."""
    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    models = next(item for item in document["applications"] if item["name"] == "models")
    models["runtime_env"]["env_vars"] |= {
        "ACGS_MODEL_FOLDER": str(folder / "models"),
        "ACGS_MODEL_REQUESTS_PER_SECOND": "1000000",
        "ACGS_MODEL_REQUEST_BURST": "1000000",
    }
    for deployment in models["deployments"]:
        deployment.pop("autoscaling_config")
        deployment["num_replicas"] = ROUTERS if deployment["name"] == "ModelRouter" else 1
    single = {"env_vars": {"OMP_NUM_THREADS": "1"}}
    document["applications"] = [
        models,
        declaration(single, cpus=0.1),
        declaration(single, module="bare_model", deployment="BareModel", cpus=0.1),
    ]
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@dataclass
class Observed:
    """What came back under load."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[int, str, str, list[float]]] = field(default_factory=list)
    """Epoch, slot, version, predictions."""
    late: int = 0
    """Requests that left after their time because too many were outstanding."""
    sent: int = 0


class Release:
    """Tables in, states out."""

    def __init__(self, cluster: LocalCluster) -> None:
        engine = open_engine(default_url(Path(cluster.state_dir)))
        upgrade(engine)
        self._store = SqlServingStore(engine)
        self.live_by_epoch: dict[int, Slot] = {}

    def replicas(self) -> list[ReplicaState]:
        """The live ones."""
        return self._store.replicas(alive_since=time.time() - LOST_AFTER_SECONDS)

    def flip(self, live: Slot) -> float:
        """Seconds from the decision until every router replica reports the table."""
        started = time.perf_counter()
        models = {MODEL: ModelRoute(blue="1.0.0", green="2.0.0", live=live)}
        epoch = self._store.append(models, actor="benchmark", reason="measurement").epoch
        self.live_by_epoch[epoch] = live
        while not (routers_on(replicas := self.replicas(), epoch) and _routers(replicas) == ROUTERS):
            if time.perf_counter() - started > WAIT_SECONDS:
                raise SystemExit("the routers did not take the table")
            time.sleep(0.005)
        return time.perf_counter() - started

    def wait_until_loaded(self) -> dict[str, float | None]:
        """Seconds that each slot took to load its version."""
        deadline = time.monotonic() + WAIT_SECONDS
        wanted = {Slot.BLUE: "1.0.0", Slot.GREEN: "2.0.0"}
        while not all(slot_readiness(self.replicas(), slot, MODEL, wanted[slot]).ready for slot in Slot):
            if time.monotonic() > deadline:
                raise SystemExit("the slots did not load")
            time.sleep(0.1)
        return {
            replica.slot.value: holding.load_seconds
            for replica in self.replicas()
            if replica.slot is not None
            for holding in replica.versions
        }


def _routers(replicas: list[ReplicaState]) -> int:
    return sum(replica.slot is None for replica in replicas)


async def one(session: aiohttp.ClientSession, observed: Observed) -> None:
    """One prediction."""
    started = time.perf_counter()
    try:
        async with session.post(ROUTES["predict"], data=BODY, headers=HEADERS) as response:
            body = await response.json()
            answer = (body["epoch"], body["slot"], body["version"], body["predictions"]) if response.ok else None
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        observed.statuses[type(error).__name__] += 1
        return
    observed.seconds.append(time.perf_counter() - started)
    observed.statuses[str(response.status)] += 1
    if answer is not None:
        observed.answers.append(answer)


def mixed(observed: Observed, live_by_epoch: dict[int, Slot]) -> int:
    """Answers that are not wholly of the version that the table of their epoch names."""
    versions = {Slot.BLUE: "1.0.0", Slot.GREEN: "2.0.0"}
    return sum(
        (slot, version, predictions) != (live.value, versions[live], [VALUES[versions[live]]])
        for epoch, slot, version, predictions in observed.answers
        for live in [live_by_epoch[epoch]]
    )


async def capacity(url: str, route: str, seconds: float, clients: int) -> float:
    """Requests a second of callers that wait for their answers."""
    answered = 0
    async with _session(url) as session:
        ends = time.perf_counter() + seconds

        async def caller() -> None:
            nonlocal answered
            while time.perf_counter() < ends:
                async with session.post(route, data=BODY, headers=HEADERS) as response:
                    await response.read()
                    answered += response.status == 200

        await asyncio.gather(*(caller() for _ in range(clients)))
    return answered / seconds


async def under_load(
    url: str, release: Release, rate: float, responses: int, flips: int
) -> tuple[Observed, list[float], float]:
    """A steady load with flips spread over it: outcomes, seconds of each flip, requests a second."""
    observed, outstanding = Observed(), asyncio.Semaphore(MAX_OUTSTANDING)
    tasks: set[asyncio.Task[None]] = set()

    async def send(session: aiohttp.ClientSession) -> None:
        try:
            await one(session, observed)
        finally:
            outstanding.release()

    async def flip_in_turns() -> list[float]:
        pause = responses / rate / (flips + 1)
        taken = []
        for number in range(flips):
            await asyncio.sleep(pause)
            taken.append(await asyncio.to_thread(release.flip, Slot.BLUE if number % 2 else Slot.GREEN))
        return taken

    async with _session(url) as session:
        flipping = asyncio.create_task(flip_in_turns())
        started, number = time.perf_counter(), 0
        while number < responses or not flipping.done():
            due = started + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            observed.late += outstanding.locked()
            observed.sent += 1
            await outstanding.acquire()
            task = asyncio.create_task(send(session))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        sent_per_second = number / (time.perf_counter() - started)
        await asyncio.gather(*tasks)
        return observed, await flipping, sent_per_second


def _session(url: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=MAX_OUTSTANDING)
    return aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=60))


def overhead(url: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of a prediction and of its baselines, call by call, in every order equally often."""
    orders = list(itertools.permutations(ROUTES))
    samples: dict[str, list[float]] = {name: [] for name in ROUTES}
    with httpx.Client(base_url=url, timeout=60, headers=HEADERS) as client:
        for turn in range(rounds + 50):
            for name in orders[turn % len(orders)]:
                started = time.perf_counter()
                client.post(ROUTES[name], content=BODY).raise_for_status()
                if turn >= 50:  # the first calls warm up
                    samples[name].append(time.perf_counter() - started)
    return samples


def measure(cluster: LocalCluster, options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    release = Release(cluster)
    release.flip(Slot.BLUE)
    result: dict[str, Any] = {"cores": os.cpu_count(), "load_average_before": os.getloadavg()[0]}
    result["slot_load_seconds"] = release.wait_until_loaded()
    samples = overhead(cluster.url, options.rounds)
    (no_op50, no_op99), (bare50, bare99), (predict50, predict99) = (percentiles(samples[name]) for name in ROUTES)
    result["router"] = {
        "n": options.rounds,
        "no_op_p50_ms": no_op50, "no_op_p99_ms": no_op99, "bare_model_p50_ms": bare50, "bare_model_p99_ms": bare99,
        "predict_p50_ms": predict50, "predict_p99_ms": predict99,
        "added_to_no_op_p50_ms": predict50 - no_op50, "ratio_to_no_op_p50": predict50 / no_op50,
        "added_to_bare_model_p50_ms": predict50 - bare50, "ratio_to_bare_model_p50": predict50 / bare50,
    }  # fmt: skip
    no_op_at_most, at_most = (
        asyncio.run(capacity(cluster.url, ROUTES[name], options.capacity_seconds, clients=16))
        for name in ("no-op", "predict")
    )
    rate = options.rate or min(TARGET_RATE, SHARE_OF_CAPACITY * at_most)
    observed, flips, sent = asyncio.run(under_load(cluster.url, release, rate, options.responses, options.flips))
    flip50, flip99 = percentiles(flips)
    load50, load99 = percentiles(observed.seconds)
    result["load"] = {
        "no_op_capacity_per_second": no_op_at_most, "capacity_per_second": at_most, "aimed_per_second": rate,
        "sent_per_second": sent,
        "responses": sum(observed.statuses.values()), "late": observed.late, "p50_ms": load50, "p99_ms": load99,
        "failed": observed.sent - observed.statuses["200"],
        "statuses": dict(observed.statuses), "mixed": mixed(observed, release.live_by_epoch),
    }  # fmt: skip
    result["flips"] = {
        "n": len(flips), "routers": ROUTERS, "p50_ms": flip50, "p99_ms": flip99, "most_ms": max(flips) * 1000,
        "mean_ms": statistics.mean(flips) * 1000,
    }  # fmt: skip
    result["load_average_after"] = os.getloadavg()[0]
    return result


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console()
    loads = f"load {result['load_average_before']:.1f} to {result['load_average_after']:.1f}, {result['cores']} cores"
    for part in ("flips", "load", "router"):
        table = Table("figure", "value", title=f"Blue and green: {part} ({loads})", title_justify="left")
        for name, value in result[part].items():
            table.add_row(name, f"{value:.2f}" if isinstance(value, float) else str(value))
        console.print(table)
    console.print(f"seconds to load a version: {result['slot_load_seconds']}")


def main() -> None:
    """Start, measure, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, help="requests a second (default: 200, but at most 70 %% of capacity)")
    parser.add_argument("--responses", type=int, default=10_000, help="least number of responses (default: 10000)")
    parser.add_argument("--flips", type=int, default=40, help="flips and rollbacks in turns (default: 40)")
    parser.add_argument("--rounds", type=int, default=1000, help="calls of each kind for the overhead (default: 1000)")
    parser.add_argument("--capacity-seconds", type=float, default=8.0, help="length of the trial (default: 8)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder / "models")
        control = ClusterControl(folder / "state", lambda _line: None)
        cluster = control.start(configuration(folder), port=free_port())
        try:
            result = measure(cluster, options)
        finally:
            control.stop()
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
