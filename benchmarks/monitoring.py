"""How often the rollback triggers trip for nothing, and how many minutes they need to find a loss.

Run with `python -m benchmarks.monitoring`. A stream is a day of one-minute windows with 100 pairs each; its deltas are
mostly exact zeros, as paired deltas of nDCG@10 are.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from rich.console import Console
from rich.table import Table

from acgs.release.monitoring import TriggerWatch
from acgs.release.monitoring_config import MonitoringConfig, Signal, monitoring_config
from acgs.statistics.bounds import proportion_upper
from acgs.statistics.evidence import Floats

STREAMS = 1000
LOOKS = 1440
PAIRS = 100
REQUESTS = 300
ZEROS, SPREAD = 0.7, 0.25
DEVIATION = SPREAD * (1 - ZEROS) ** 0.5
P95_MS = 100.0
ONSETS = (0, 720)
GIVE_UP = 120
WATCHED = ("quality_regression", "hard_nl_regression", "latency_breach")


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Streams without any change on which a trigger tripped."""

    trigger: str
    alpha: float
    tripped: int


@dataclass(frozen=True, slots=True)
class Detection:
    """Minutes from a change to the alarm; a stream that tripped before the change does not count."""

    trigger: str
    change: str
    onset: int
    streams: int
    median: float
    p90: float
    missed: int


def false_alarms(config: MonitoringConfig, rng: np.random.Generator) -> list[FalseAlarms]:
    """Each trigger at the worst mean that it allows, and any of them."""
    rows, any_tripped = [], np.zeros(STREAMS, dtype=bool)
    for name in WATCHED:
        watch = TriggerWatch(config.triggers[name], LOOKS)
        for _ in range(LOOKS):
            watch.update(_values(watch, rng, 0.0))
        any_tripped |= watch.tripped
        rows.append(FalseAlarms(name, watch.trigger.alpha, int(watch.tripped.sum())))
    return [*rows, FalseAlarms("any of them", sum(row.alpha for row in rows), int(any_tripped.sum()))]


def detection(config: MonitoringConfig, name: str, onset: int, rng: np.random.Generator) -> Detection:
    """A loss of a tenth of a standard deviation, or twice as many requests above the limit, from minute `onset` on."""
    trigger = config.triggers[name]
    watch, minutes = TriggerWatch(trigger, LOOKS), np.full(STREAMS, np.inf)
    for _ in range(onset):
        watch.update(_values(watch, rng, 0.0))
    early = np.broadcast_to(watch.tripped, (STREAMS,)).copy()
    for minute in range(1, GIVE_UP + 1):
        watch.update(_values(watch, rng, 1.0))
        minutes[watch.tripped & np.isinf(minutes)] = minute
        if np.isfinite(minutes).all():
            break
    minutes = minutes[~early]
    change = "2 x slow" if trigger.signal == Signal.LATENCY else "0.1 sd"
    median, p90 = np.quantile(minutes, [0.5, 0.9], method="inverted_cdf")
    return Detection(name, change, onset, len(minutes), float(median), float(p90), int(np.isinf(minutes).sum()))


def _values(watch: TriggerWatch, rng: np.random.Generator, change: float) -> Floats:
    if watch.trigger.signal == Signal.LATENCY:
        slow = 0.05 * (1 + change)
        return np.where(rng.random((STREAMS, REQUESTS)) < slow, 2 * P95_MS, P95_MS)
    deltas = np.where(rng.random((STREAMS, PAIRS)) < ZEROS, 0.0, rng.normal(0, SPREAD, (STREAMS, PAIRS)))
    return np.asarray(np.clip(deltas - change * 0.1 * DEVIATION, -1, 1))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    rng = np.random.default_rng(parser.parse_args().seed)
    config = monitoring_config(
        version="benchmark", at=datetime.now(UTC), baseline_p95_ms=P95_MS, delta_deviation=DEVIATION
    )
    started = time.process_time()
    console = Console()
    title = f"False alarms on {STREAMS:,} streams of {LOOKS:,} one-minute windows without a change"
    table = Table("trigger", "alpha", "streams that tripped", "upper bound, 95 %", title=title)
    for row in false_alarms(config, rng):
        upper = proportion_upper(row.tripped, STREAMS)
        table.add_row(row.trigger, f"{row.alpha:.4f}", f"{row.tripped} ({row.tripped / STREAMS:.4f})", f"{upper:.4f}")
    console.print(table)
    title = f"Minutes to the alarm, {PAIRS} pairs or {REQUESTS} requests a minute, the configured alphas"
    table = Table("trigger", "change", "from minute", "streams", "median", "p90", "missed", title=title)
    for name in WATCHED:
        for onset in ONSETS:
            seen = detection(config, name, onset, rng)
            figures = (f"{seen.median:.0f}", f"{seen.p90:.0f}", str(seen.missed))
            table.add_row(name, seen.change, str(onset), str(seen.streams), *figures)
    console.print(table)
    console.print(f"{time.process_time() - started:.0f} s of CPU, load average {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
