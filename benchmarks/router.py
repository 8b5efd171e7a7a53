"""How long a routing decision takes: the tables against the LightGBM models from which they come, in the same run.

Run with `python -m benchmarks.router`. Times are those of the thread's CPU; single queries are asked in turns, so that
all see the same machine, and what reading the clock costs is taken off. A bare loop of about the same length shows
what the machine itself adds to the 99th percentile.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from acgs.retrieval import query_features
from acgs.retrieval.router.distillation import Distillation, distill
from acgs.retrieval.router.outputs import MONOTONE, OUTPUTS
from acgs.retrieval.router.router_file import ROUTER_FILE, load_router, write_router
from acgs.retrieval.router.runtime import Router
from acgs.retrieval.router.teacher import fit
from acgs.statistics.evidence import Floats

QUERIES = 5000
FOLDS = 5
TREES = 100
SINGLE = 20_000
SINGLE_TEACHER = 2_000
BATCH = 100_000
ROUNDS = 20
WIDTHS = (4, len(query_features.NAMES))
NAMES = ("entropy", "length", "nl_confidence", "miss_rate")


def measured(width: int, rng: np.random.Generator) -> tuple[Floats, tuple[str, ...], dict[str, Floats]]:
    """Features, their names, and targets that depend on all features a little, with noise."""
    table = rng.gamma(2.0, 1.0, (QUERIES, width))
    names = NAMES + tuple(f"feature {number}" for number in range(len(NAMES), width))
    mix = table @ rng.normal(0, 0.01, width)
    tau = np.clip(0.4 + 0.05 * table[:, 0] + mix + rng.normal(0, 0.02, QUERIES), 0, 1)
    spend = np.maximum(2 + table[:, 0] + 5 * mix + rng.normal(0, 0.2, QUERIES), 0)
    gain = 0.1 - 0.02 * table[:, 2] + mix + rng.normal(0, 0.01, QUERIES)
    return table, names, {"tau": tau, "spend": spend, "gain": gain}


def distilled(width: int, rng: np.random.Generator, folder: Path) -> tuple[Distillation, Router, list[Any], Floats]:
    """The distillation, the router as loaded from its file, the three teachers, and the queries."""
    table, names, targets = measured(width, rng)
    made = distill(table, names, targets, np.arange(QUERIES) % FOLDS, seed=1).decided_at((0.05, 0.1))
    write_router(folder / ROUTER_FILE, made, version="1.0.0", at=datetime.now(UTC))
    signs = {output: [MONOTONE[output].get(name, 0) for name in names] for output in OUTPUTS}
    teachers = [fit(table, targets[output], signs[output], seed=1, rounds=TREES) for output in OUTPUTS]
    return made, load_router(folder / ROUTER_FILE), teachers, table


def single(router: Router, teachers: list[Any], table: Floats) -> dict[str, list[float]]:
    """CPU microseconds a query, of the tables, a bare loop and three LightGBM models; ten of ours to one of theirs."""
    rows, arrays = table.tolist(), [row[None, :] for row in table]
    clock = float(np.median([_cpu_us(_nothing) for _ in range(2000)]))
    ours, bare, theirs = [], [], []
    for number in range(SINGLE):
        row = rows[number % len(rows)]
        ours.append(_cpu_us(partial(router.predict_one, row)) - clock)
        bare.append(_cpu_us(_bare_loop) - clock)
        if number % (SINGLE // SINGLE_TEACHER) == 0:
            array = arrays[number % len(rows)]
            theirs.append(_cpu_us(partial(_ask, teachers, array)) - clock)
    return {"tables, one by one": ours, "bare loop, 80 sums": bare, f"LightGBM, {TREES} trees each": theirs}


def batched(router: Router, teachers: list[Any], table: Floats, rng: np.random.Generator) -> tuple[list[float], float]:
    """CPU nanoseconds a query in batches: of the tables, each round; of the models, once."""
    many = table[rng.integers(0, len(table), BATCH)]
    ours = [1e3 * _cpu_us(partial(router.predict, many)) / BATCH for _ in range(ROUNDS)]
    return ours, 1e3 * _cpu_us(partial(_ask, teachers, many)) / BATCH


def _nothing() -> None:
    return None


def _bare_loop() -> float:
    total = 1.0
    for _ in range(80):
        total += 0.1
    return total


def _ask(teachers: list[Any], row: Floats) -> list[Floats]:
    return [each.predict(row, num_threads=1) for each in teachers]


def _cpu_us(action: Callable[[], object]) -> float:
    started = time.thread_time_ns()
    action()
    return (time.thread_time_ns() - started) / 1e3


def main() -> None:
    """Print the speeds and the fidelity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    rng = np.random.default_rng(parser.parse_args().seed)
    speed = Table("features", "what", "n", "unit", "p50", "p99", title="A routing decision: tau, spend and gain")
    fidelity = Table("features", "output", "R2", "R2 held out", "rank", "decisions", title="Tables against teacher")
    for width in WIDTHS:
        with tempfile.TemporaryDirectory(prefix="acgs-bench-") as name:
            made, router, teachers, table = distilled(width, rng, Path(name))
        for what, times in single(router, teachers, table).items():
            p50, p99 = np.quantile(times, [0.5, 0.99])
            speed.add_row(str(width), what, f"{len(times):,}", "us", f"{p50:.2f}", f"{p99:.2f}")
        rounds, models = batched(router, teachers, table, rng)
        median, worst = f"{np.median(rounds):.0f}", f"{max(rounds):.0f}"
        speed.add_row(str(width), f"tables, {BATCH:,} at once", str(ROUNDS), "ns/query", median, worst)
        speed.add_row(str(width), f"LightGBM, {BATCH:,} at once", "1", "ns/query", f"{models:.0f}", "")
        for output, agreed in made.fidelity.items():
            figures = (agreed.r2, agreed.held_out_r2, agreed.rank_agreement, agreed.decision_agreement)
            fidelity.add_row(str(width), output, *("" if of is None else f"{of:.4f}" for of in figures))
    console = Console()
    console.print(speed)
    console.print(fidelity)
    console.print(f"load average {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
