"""What bounds of a mean paired delta cost, how often they hold, and how wide they are.

Run with `python -m benchmarks.statistics`. Times are CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from acgs.statistics.betting import betting_bounds
from acgs.statistics.bootstrap import paired_bca, paired_t
from acgs.statistics.bounds import empirical_bernstein_lower
from acgs.statistics.evidence import Floats

PAIRS = 1000
RESAMPLES = 10_000
ROUNDS = 5
REPETITIONS = 2000
RESAMPLES_FOR_COVERAGE = 1000
SIZES = (50, 100, 225, 500)
ZEROS = 0.7
LOWER_BOUNDS: dict[str, Callable[[Floats], float]] = {
    "t": lambda deltas: paired_t(deltas).lower,
    "BCa": lambda deltas: paired_bca(deltas, resamples=RESAMPLES_FOR_COVERAGE).lower,
    "betting": lambda deltas: betting_bounds(deltas, -1, 1)[0],
    "empirical Bernstein": lambda deltas: empirical_bernstein_lower(deltas, -1, 1),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often a lower bound at 95 % lies at or below the true mean, and how far below it on average."""

    method: str
    n: int
    held: float
    margin: float


def paired_deltas(rng: np.random.Generator, n: int) -> Floats:
    """Deltas of nDCG@10: mostly exact zeros, the rest skewed to the right, in [-1, 1] with mean 0."""
    moved = rng.beta(1.0, 3.0, n) - 0.25
    return np.where(rng.random(n) < ZEROS, 0.0, moved)


def seconds_of_bootstrap(rng: np.random.Generator) -> list[float]:
    """CPU seconds of BCa bounds at full size, one a round."""
    times = []
    for seed in range(ROUNDS):
        deltas = paired_deltas(rng, PAIRS)
        started = time.process_time()
        paired_bca(deltas, resamples=RESAMPLES, seed=seed)
        times.append(time.process_time() - started)
    return times


def coverage(method: str, n: int, rng: np.random.Generator) -> Coverage:
    """Repeat the bound on fresh deltas of mean 0."""
    bound = LOWER_BOUNDS[method]
    lower = np.array([bound(paired_deltas(rng, n)) for _ in range(REPETITIONS)])
    return Coverage(method, n, float((lower <= 0).mean()), float(-lower.mean()))


def main() -> None:
    """Print the time and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    rng = np.random.default_rng(parser.parse_args().seed)
    console = Console()
    paired_bca(paired_deltas(rng, PAIRS), resamples=100)  # imports
    times = seconds_of_bootstrap(rng)
    console.print(
        f"BCa, {RESAMPLES:,} resamples of {PAIRS:,} pairs: median {statistics.median(times):.3f} s, "
        f"worst {max(times):.3f} s of CPU, n = {ROUNDS}, load average {os.getloadavg()[0]:.2f}"
    )
    table = Table("bound", "n", "holds", "mean margin", title=f"Lower bounds at 95 %, {REPETITIONS:,} repetitions each")
    for method in LOWER_BOUNDS:
        for n in SIZES:
            row = coverage(method, n, rng)
            table.add_row(row.method, str(row.n), f"{row.held:.4f}", f"{row.margin:.4f}")
    console.print(table)


if __name__ == "__main__":
    main()
