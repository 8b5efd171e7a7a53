"""What scenarios cost: examples a second in CPU time, peak memory, and how many are distinct.

Run with `python -m benchmarks.scenarios`. Memory is measured in a run of its own, because tracing slows the clock.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from acgs.constitution.source import load_locked
from acgs.governance.scenarios.generator import Scenario, generate
from acgs.governance.scenarios.scenario_file import count_scenarios, read_scenarios, write_scenarios

COUNT = 10_000
DISTINCT_OF = 20_000
ROUNDS = 5
SEED = 1


def run() -> list[dict[str, Any]]:
    """Measure and return one row per quantity: what, unit, n, and the median, least and greatest of the rounds."""
    document = load_locked().document

    def drawn() -> list[Scenario]:
        return list(generate(document, COUNT, SEED))

    scenarios = drawn()
    with tempfile.TemporaryDirectory(prefix="acgs-bench-") as name:
        path = Path(name) / "scenarios.jsonl"
        rows = [
            _row("generate, with oracle labels (CPU)", "examples/s", _rates(drawn)),
            _row("write, durable (CPU)", "examples/s", _rates(lambda: write_scenarios(path, scenarios))),
            _row("read and check (CPU)", "examples/s", _rates(lambda: list(read_scenarios(path)))),
            _row("count and find duplicates (CPU)", "examples/s", _rates(lambda: count_scenarios(scenarios))),
            _row("file", "MB", [path.stat().st_size / 1e6]),
        ]
    rows.append(_row(f"peak memory, {COUNT:,} held", "MB", [_peak_megabytes(drawn)]))
    counts = count_scenarios(generate(document, DISTINCT_OF, SEED))
    rows.append(_row(f"distinct of {DISTINCT_OF:,}", "examples", [counts.total - counts.duplicates]))
    return rows


def _rates(work: Callable[[], object]) -> list[float]:
    rates = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        rates.append(COUNT / (time.process_time() - started))
    return rates


def _peak_megabytes(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        kept = work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return peak / 1e6


def _row(what: str, unit: str, values: list[float]) -> dict[str, Any]:
    return {
        "what": what,
        "unit": unit,
        "n": len(values),
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
    }


def main() -> None:
    """Print the table."""
    table = Table("", "unit", "n", "median", "least", "greatest", title=f"Scenarios, {COUNT:,} a round")
    for row in run():
        figures = (f"{row[name]:,.1f}" for name in ("median", "least", "greatest"))
        table.add_row(row["what"], row["unit"], str(row["n"]), *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
