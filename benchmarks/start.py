"""How long the platform takes to start, against a bare Ray with one no-op Serve application; in turns.

`python -m benchmarks.start` starts and stops clusters of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from acgs.cli.local_cluster import ClusterControl, free_port
from benchmarks.http import REPOSITORY, configuration


def seconds_to_start(config: Path, state: Path) -> float:
    """Wall seconds from nothing to all applications running; the cluster is stopped again."""
    control = ClusterControl(state, lambda _line: None)
    started = time.perf_counter()
    control.start(config, port=free_port())
    elapsed = time.perf_counter() - started
    control.stop()
    return elapsed


def main() -> None:
    """Start both in turns and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="starts of each (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    times: dict[str, list[float]] = {"no-op": [], "platform": []}
    with tempfile.TemporaryDirectory() as folder:
        document = yaml.safe_load(configuration(Path(folder)).read_text(encoding="utf-8"))
        document["applications"] = [app for app in document["applications"] if app["name"] == "noop"]
        bare = Path(folder) / "noop.yaml"
        bare.write_text(yaml.safe_dump(document), encoding="utf-8")
        for number in range(options.rounds):
            times["no-op"].append(seconds_to_start(bare, Path(folder) / f"noop{number}"))
            platform = REPOSITORY / "cluster" / "serve.yaml"
            times["platform"].append(seconds_to_start(platform, Path(folder) / f"platform{number}"))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["platform"] / medians["no-op"]
    if options.json:
        print(json.dumps({"seconds": times, "ratio_of_medians": ratio, "load_average": os.getloadavg()[0]}))
        return
    table = Table(title=f"Start, n = {options.rounds} each, load {os.getloadavg()[0]:.1f}", title_justify="left")
    for column in ("what", "median s", "least s", "most s"):
        table.add_column(column, justify="right")
    for name, values in times.items():
        table.add_row(name, f"{medians[name]:.1f}", f"{min(values):.1f}", f"{max(values):.1f}")
    Console().print(table)
    print(f"platform / no-op: {ratio:.2f}")


if __name__ == "__main__":
    main()
