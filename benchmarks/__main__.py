"""`python -m benchmarks`: every table, one after the other, so that none disturbs another."""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    "start",
    "http",
    "blue_green",
    "decision",
    "audit",
    "registry",
    "catalogue",
    "scenarios",
    "guard",
    "pii",
    "sanctions",
    "dp_lora",
    "guard_adapter",
    "training",
    "statistics",
    "monitoring",
    "router",
    "ann",
    "search",
    "cross_fitting",
    "t1",
    "causal",
)


def main() -> int:
    """Run each module in a process of its own; the exit code is 1 if any failed."""
    failed = []
    for name in MODULES:
        print(f"\n== benchmarks.{name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=False).returncode:
            failed.append(name)
    if failed:
        print("failed: " + ", ".join(failed))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
