"""Over HTTP: a search's cost by route against a no-op endpoint of the same run, called in turns.

`python -m benchmarks.search` indexes Vaswani from the public sets, or takes `--index DIR --corpus DIR`; it starts a
cluster of its own and stops it again. With `budget_ms: 0` a search is by words alone and exits before the encoder; the
cheap rerank exits before late interaction, the full one does not.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from acgs.cli.local_cluster import ClusterControl, free_port
from acgs.retrieval.configuration import RetrievalConfiguration
from acgs.retrieval.corpus import read_queries
from acgs.retrieval.encoders import open_encoder
from acgs.retrieval.index import build_index
from acgs.retrieval.public_collections import vaswani
from benchmarks.noop import declaration

REPOSITORY = Path(__file__).resolve().parents[1]
LABEL = "cdd01ef066bc6cf2"
SEARCH = "/retrieval/search"
ROUTES: dict[str, dict[str, Any]] = {
    "lexical": {"budget_ms": 0},
    "cheap rerank": {"budget_ms": RetrievalConfiguration().rerankers.cheap_ms},  # pays for no candidate of the full one
    "full rerank": {},
}
BOUNDED = ("lexical", "cheap rerank")
"""Routes that exit early."""


def configuration(directory: Path, index: Path, encoder: str) -> Path:
    """The shipped Serve configuration with the index in service, one replica, and a no-op application beside it."""
    document = yaml.safe_load((REPOSITORY / "cluster" / "serve.yaml").read_text(encoding="utf-8"))
    retrieval = next(item for item in document["applications"] if item["name"] == "retrieval")
    deployment = retrieval["deployments"][0]
    deployment.pop("autoscaling_config")
    deployment |= {"num_replicas": 1, "user_config": {"index": str(index.resolve()), "encoder": encoder, "epoch": 1}}
    document["applications"] = [retrieval, declaration(retrieval["runtime_env"])]
    path = directory / "serve.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def prepared(options: argparse.Namespace, folder: Path) -> tuple[Path, list[str]]:
    """An index and queries for it: those given, or Vaswani's."""
    if options.index is not None and options.corpus is not None:
        return options.index, list(read_queries(options.corpus).values())
    collection = vaswani(options.data / "vaswani_npl")
    build_index(collection.documents, open_encoder(options.encoder), folder / "index")
    return folder / "index", list(collection.queries.values())


def in_turns(url: str, queries: list[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of call; the order rotates from round to round."""
    rng = random.Random(0)
    samples: dict[str, list[float]] = {"no-op": [], **{name: [] for name in ROUTES}}
    with httpx.Client(base_url=url, timeout=120) as client:
        for turn in range(rounds):
            query = rng.choice(queries)
            body = {"query": query, "topk": 10, "constitutional_hash": LABEL}
            calls = [("no-op", "/noop/", {"query": query}), *((n, SEARCH, body | more) for n, more in ROUTES.items())]
            shift = turn % len(calls)
            for name, path, sent in calls[shift:] + calls[:shift]:
                started = time.perf_counter()
                response = client.post(path, json=sent)
                elapsed = (time.perf_counter() - started) * 1e3
                response.raise_for_status()
                if name in ROUTES and response.json()["route"] != name:
                    raise SystemExit(f"asked for {name}, served {response.json()['route']}")
                samples[name].append(elapsed)
    return samples


def show(samples: dict[str, list[float]]) -> None:
    """Print the table."""
    table = Table(title=f"search over HTTP, 1 client, load {os.getloadavg()[0]:.1f}", title_justify="left")
    for column in ("request", "n", "p50 ms", "p95 ms", "p99 ms", "p99, allowed"):
        table.add_column(column, justify="right")
    allowed = 1.5 * float(np.percentile(samples["no-op"], 99)) + 2.0
    for name, values in samples.items():
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        limit = f"{allowed:.2f}" if name in BOUNDED else ""
        table.add_row(name, str(len(values)), f"{p50:.2f}", f"{p95:.2f}", f"{p99:.2f}", limit)
    Console().print(table)
    print("allowed: 1.5 times the no-op's p99 plus 2 ms")


def main() -> None:
    """Start, measure, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, help="folder of 'acgs retrieval index'")
    parser.add_argument("--corpus", type=Path, help="folder with queries.jsonl")
    parser.add_argument("--encoder", default="minilm", help="'minilm', or a folder of 'acgs retrieval distil-encoder'")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the public sets")
    parser.add_argument("--rounds", type=int, default=500, help="calls of each kind (default: 500)")
    options = parser.parse_args()
    if options.index is None and not options.data.is_dir():
        print(f"skipped: {options.data} is not there; give --index and --corpus")
        return
    os.environ["RATE_LIMIT_REQUESTS_PER_SECOND"] = os.environ["RATE_LIMIT_BURST_CAPACITY"] = "1000000"
    with tempfile.TemporaryDirectory() as folder:
        index, queries = prepared(options, Path(folder))
        control = ClusterControl(Path(folder) / "state", lambda _line: None)
        cluster = control.start(configuration(Path(folder), index, options.encoder), port=free_port())
        try:
            in_turns(cluster.url, queries, 20)
            samples = in_turns(cluster.url, queries, options.rounds)
        finally:
            control.stop()
    show(samples)


if __name__ == "__main__":
    main()
