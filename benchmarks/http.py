"""Over HTTP: a decision's cost against a no-op FastAPI deployment of the same run, called in turns.

`python -m benchmarks.http` starts a cluster of its own with both applications and stops it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.table import Table

from acgs.cli.local_cluster import ClusterControl, LocalCluster, free_port
from benchmarks.noop import declaration

REPOSITORY = Path(__file__).resolve().parents[1]
EVALUATE = "/api/v1/enhanced-governance/evaluate"
ZIPF_EXPONENT = 1.1
ZIPF_QUERIES = 500
WORDS = (
    "how",
    "do",
    "we",
    "plan",
    "a",
    "garden",
    "with",
    "herbs",
    "and",
    "small",
    "trees",
    "near",
    "the",
    "old",
    "stone",
)


def configuration(directory: Path) -> Path:
    """The shipped Serve configuration with a no-op application beside it."""
    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    for deployment in document["applications"][0]["deployments"]:
        if deployment["name"] == "Governance":
            deployment.pop("autoscaling_config")
            deployment["num_replicas"] = 1
    document["applications"].append(declaration(document["applications"][0]["runtime_env"]))
    path = directory / "serve.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def sixty_tokens(rng: random.Random) -> str:
    """A fresh harmless text of about sixty tokens."""
    return " ".join(rng.choice(WORDS) for _ in range(58)) + f" {rng.randrange(10**9)}?"


def percentiles(samples: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(samples)
    return statistics.median(ordered) * 1000, ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] * 1000


def in_turns(url: str, clients: int, rounds: int, seed: int) -> dict[str, list[float]]:
    """Each client calls no-op, miss and hit one after the other; the order rotates."""
    samples: dict[str, list[float]] = {"no-op": [], "miss": [], "hit": []}
    errors = 0
    lock = threading.Lock()

    def run(number: int) -> None:
        nonlocal errors
        rng = random.Random(seed + number)
        with httpx.Client(base_url=url, timeout=60) as client:
            for turn in range(rounds):
                body = {"query": sixty_tokens(rng)}
                known = {"query": "How do I bake sourdough bread for ten people on a Sunday?"}
                calls: list[tuple[str, str, dict[str, str]]] = [
                    ("no-op", "/noop/", body), ("miss", EVALUATE, body), ("hit", EVALUATE, known),
                ]  # fmt: skip
                for name, route, sent in calls[turn % 3 :] + calls[: turn % 3]:
                    started = time.perf_counter()
                    response = client.post(route, json=sent)
                    elapsed = time.perf_counter() - started
                    with lock:
                        errors += response.status_code != 200
                        samples[name].append(elapsed)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples["errors"] = [float(errors)]
    return samples


def throughput(url: str, clients: int, requests: int, make: Callable[[random.Random], dict[str, str]]) -> float:
    """Requests a second with `clients` callers that do not wait for each other."""

    def run(number: int) -> None:
        rng = random.Random(number)
        with httpx.Client(base_url=url, timeout=60) as client:
            for _ in range(requests // clients):
                client.post(EVALUATE, json=make(rng)).raise_for_status()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return requests / (time.perf_counter() - started)


def zipf_hit_rate(url: str, requests: int, seed: int) -> float:
    """Cache hit rate of a Zipf replay, as the answers themselves say."""
    rng = random.Random(seed)
    weights = [1 / rank**ZIPF_EXPONENT for rank in range(1, ZIPF_QUERIES + 1)]
    drawn = rng.choices(range(ZIPF_QUERIES), weights=weights, k=requests)
    hits = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        for number in drawn:
            body = {"query": f"How do I grow plant number {number} of the catalogue for seed {seed}?"}
            response = client.post(EVALUATE, json=body).raise_for_status()
            hits += response.json()["cache_hit"]
    return hits / requests


def measure(cluster: LocalCluster, rounds: int, zipf: int) -> dict[str, Any]:
    """All figures."""
    result: dict[str, Any] = {"load_average": os.getloadavg()[0], "clients": {}}
    in_turns(cluster.url, 1, 20, seed=1)
    for clients in (1, 8):
        samples = in_turns(cluster.url, clients, rounds // clients, seed=clients * 1000)
        base50, base99 = percentiles(samples["no-op"])
        rows = {}
        for name in ("no-op", "miss", "hit"):
            p50, p99 = percentiles(samples[name])
            rows[name] = {
                "n": len(samples[name]), "p50_ms": p50, "p99_ms": p99, "p50_ratio": p50 / base50,
                "p99_ratio": p99 / base99,
            }  # fmt: skip
        result["clients"][clients] = {"errors": samples["errors"][0], "rows": rows}
    result["rps_8_clients"] = throughput(cluster.url, 8, rounds, lambda rng: {"query": sixty_tokens(rng)})
    result["zipf_requests"] = zipf
    result["zipf_hit_rate"] = zipf_hit_rate(cluster.url, zipf, seed=int(time.time()))
    return result


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console()
    for clients, figures in result["clients"].items():
        title = f"HTTP, {clients} client(s), errors {figures['errors']:.0f}, load {result['load_average']:.1f}"
        table = Table(title=title, title_justify="left")
        for column in ("request", "n", "p50 ms", "p99 ms", "p50 / no-op", "p99 / no-op"):
            table.add_column(column, justify="right")
        for name, row in figures["rows"].items():
            table.add_row(
                name, str(row["n"]), f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['p50_ratio']:.2f}",
                f"{row['p99_ratio']:.2f}",
            )  # fmt: skip
        console.print(table)
    console.print(f"throughput, 8 clients, misses: {result['rps_8_clients']:.0f} requests/s (client on the same cores)")
    console.print(
        f"cache hit rate, Zipf({ZIPF_EXPONENT}) over {ZIPF_QUERIES} queries, n = {result['zipf_requests']}: "
        f"{result['zipf_hit_rate']:.3f}"
    )


def main() -> None:
    """Start, measure, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="calls of each kind (default: 1000)")
    parser.add_argument("--zipf", type=int, default=10_000, help="requests of the Zipf replay (default: 10000)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    os.environ["RATE_LIMIT_REQUESTS_PER_SECOND"] = os.environ["RATE_LIMIT_BURST_CAPACITY"] = "1000000"
    with tempfile.TemporaryDirectory() as folder:
        control = ClusterControl(Path(folder) / "state", lambda _line: None)
        started = time.perf_counter()
        cluster = control.start(configuration(Path(folder)), port=free_port())
        print(f"cluster and both applications up after {time.perf_counter() - started:.0f} s")
        try:
            result = measure(cluster, options.rounds, options.zipf)
        finally:
            control.stop()
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
