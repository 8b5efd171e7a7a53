"""HNSW against exact search in NumPy: speed at recall@10 of .99, and what building and memory grow like.

`python -m benchmarks.ann`, with `--vectors FILE` (an index's `vectors.npy`) for a collection of your own. Both have one
thread, as in service; exact search on all cores is timed beside them.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import ThreadpoolController

from acgs.retrieval.harvest import search_ms
from acgs.retrieval.vectors import ExactSearch, GraphOptions, GraphSearch, build_graph

WIDTH = 384
CLUSTERS = 2000
QUERIES = 200
EFS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
LEAST_RECALL = 0.99
Singles = NDArray[np.float32]


def clustered(count: int, seed: int) -> Singles:
    """Vectors of length 1 around centres, which is what embeddings of texts look like."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CLUSTERS, WIDTH), dtype=np.float32)
    vectors = centres[rng.integers(0, CLUSTERS, count)] + rng.standard_normal((count, WIDTH), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def near(vectors: Singles, count: int, seed: int) -> Singles:
    """Queries: documents with as much noise as one cluster holds."""
    rng = np.random.default_rng(seed)
    queries = vectors[rng.choice(len(vectors), count, replace=False)]
    queries = queries + rng.standard_normal(queries.shape, dtype=np.float32) * np.float32(0.5 / WIDTH**0.5)
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)


def measure(name: str, vectors: Singles, queries: Singles) -> dict[str, Any]:
    """Build, then raise ef until the recall is reached; the searches answer each query in turns."""
    exact = ExactSearch(vectors)
    truth = [set(exact.nearest(query, 10).tolist()) for query in queries]
    started = time.process_time()
    graph = build_graph(vectors, GraphOptions())
    built = time.process_time() - started
    search, recall = GraphSearch(graph, vectors, EFS[0]), 0.0
    for ef in EFS:
        search = GraphSearch(graph, vectors, ef)
        found = [len(truth[row] & set(search.nearest(query, 10).tolist())) for row, query in enumerate(queries)]
        recall = float(np.mean(found)) / 10
        if recall >= LEAST_RECALL:
            break
    times: dict[str, list[float]] = {"exact": [], "graph": [], "all cores": []}
    threads = ThreadpoolController()
    for turn, query in enumerate(np.concatenate([queries, queries, queries])):
        pair: list[tuple[str, ExactSearch | GraphSearch]] = [("exact", exact), ("graph", search)]
        with threads.limit(limits=1):
            for label, searcher in pair if turn % 2 else pair[::-1]:
                times[label].append(search_ms(searcher, query, 10))
        times["all cores"].append(search_ms(exact, query, 10))
    figures = {label: np.percentile(values, [50, 99]).tolist() for label, values in times.items()}
    return {
        "vectors": name,
        "n": len(vectors),
        "build_cpu_s": built,
        "memory_mb": search.memory_bytes / 1e6,
        "ef": search.ef,
        "recall": recall,
        **figures,
        "ratio": figures["exact"][0] / figures["graph"][0],
        "ratio, all cores": figures["all cores"][0] / figures["graph"][0],
    }


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 50_000, 200_000], help="synthetic vectors")
    parser.add_argument("--vectors", type=Path, help="vectors.npy of an index")
    options = parser.parse_args()
    sets = [(f"synthetic, {CLUSTERS} clusters", size) for size in options.sizes]
    rows = []
    if options.vectors is not None:
        vectors = np.load(options.vectors, allow_pickle=False)
        rows.append(measure(options.vectors.parent.name, vectors, near(vectors, min(QUERIES, len(vectors)), 1)))
    for name, size in sets:
        vectors = clustered(size, 0)
        rows.append(measure(name, vectors, near(vectors, QUERIES, 1)))
    table = Table(title=f"HNSW against exact, one thread each, load {os.getloadavg()[0]:.1f}", title_justify="left")
    for column in (
        "vectors",
        "n",
        "build, CPU s",
        "us a vector",
        "MB",
        "B a vector",
        "ef",
        "recall@10",
        "exact p50/p99 ms",
        "HNSW p50/p99 ms",
        "ratio",
        f"exact on {os.cpu_count()} cores, p50",
        "ratio",
    ):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["vectors"],
            str(row["n"]),
            f"{row['build_cpu_s']:.1f}",
            f"{1e6 * row['build_cpu_s'] / row['n']:.0f}",
            f"{row['memory_mb']:.0f}",
            f"{1e6 * row['memory_mb'] / row['n']:.0f}",
            str(row["ef"]),
            f"{row['recall']:.4f}",
            "{:.2f} / {:.2f}".format(*row["exact"]),
            "{:.3f} / {:.3f}".format(*row["graph"]),
            f"{row['ratio']:.1f}",
            f"{row['all cores'][0]:.2f}",
            f"{row['ratio, all cores']:.1f}",
        )
    Console(width=170).print(table)
    grown = [row for row in rows if row["vectors"].startswith("synthetic")]
    if len(grown) > 1:
        print(growth(grown))


def growth(rows: list[dict[str, Any]]) -> str:
    """What grows with the number of vectors, as powers of it between the smallest and the largest set."""
    first, last = rows[0], rows[-1]
    spread = np.log(last["n"] / first["n"])
    powers = {
        "building": np.log(last["build_cpu_s"] / first["build_cpu_s"]) / spread,
        "memory": np.log(last["memory_mb"] / first["memory_mb"]) / spread,
        "exact search": np.log(last["exact"][0] / first["exact"][0]) / spread,
        "HNSW search": np.log(last["graph"][0] / first["graph"][0]) / spread,
    }
    said = ", ".join(f"{name} n^{power:.2f}" for name, power in powers.items())
    return (
        f"from {first['n']:,} to {last['n']:,}: {said}. Adding a vector searches the graph that is there; one beyond "
        "the processor's caches misses them at each step. Links and vectors are of fixed size, exact search reads all "
        "vectors, and ef is the least that reaches the recall, so it may differ between the rows."
    )


if __name__ == "__main__":
    main()
