"""What workers bring to a training job, and what the loss of one costs: `python -m benchmarks.training`.

Runs `train_jobs.constitutional` on a tiny model, with one worker and with two in turns, and kills a worker of a
private run. Workers can only be faster where each has a core of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from acgs.learning.data.dataset import DatasetWriter
from acgs.learning.data.manifest import Operation
from acgs.learning.data.records import Message, Record

WORDS = ("garden", "herbs", "small", "trees", "near", "old", "stone", "wall", "spring", "rain", "bees", "visit")
ROWS = 256
INTERVAL = 4
"""Steps between checkpoints of the run that loses a worker."""
PATIENCE_SECONDS = 900


def write_data(folder: Path) -> None:
    """A data set of random sentences, and a corpus for the tokenizer."""

    def record(number: int) -> Record:
        rng = random.Random(number)
        question, answer = (" ".join(rng.choices(WORDS, k=60)) for _ in range(2))
        messages = (Message(role="user", content=question), Message(role="assistant", content=answer))
        return Record(id=f"r{number}", messages=messages, source="benchmark")

    with DatasetWriter(folder / "data") as writer:
        for number in range(ROWS):
            writer.add(record(number), "validation" if number % 16 == 0 else "train")
        writer.finish(parents=[], origins=["0" * 64], operations=[Operation(name="made")])
    corpus = "\n".join(record(number).contents for number in range(ROWS, 2 * ROWS))
    (folder / "public.txt").write_text(corpus, encoding="utf-8")


def run_file(folder: Path, name: str, **changes: Any) -> Path:
    """A run of a Llama of four layers; `changes` override."""
    tiny = {"corpus": "public.txt", "hidden_size": 256, "layers": 4, "heads": 4, "vocabulary": 400, "context": 256}
    phase = {
        "kind": "sft", "data": "data", "epochs": 2, "batch_size": 32, "micro_batch_size": 8, "max_length": 256,
        **changes.pop("phase", {}),
    }  # fmt: skip
    run = {
        "name": name, "base_model": {"tiny": tiny}, "phases": [phase], "lora": {"dropout": 0.0},
        "evaluation": {"max_prompts": 1, "max_new_tokens": 2}, "export_merged": False, **changes,
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(run), encoding="utf-8")
    return path


def start(config: Path, output: Path) -> subprocess.Popen[bytes]:
    """The job as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["ACGS_STATE_DIR"] = str(output.parent / f"state-{output.name}")
    command = [sys.executable, "-m", "train_jobs.constitutional", "--config", str(config), "--output", str(output)]
    with output.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def finish(job: subprocess.Popen[bytes], output: Path) -> dict[str, Any]:
    """Its report."""
    if job.wait(timeout=PATIENCE_SECONDS):
        raise SystemExit(output.with_suffix(".log").read_text()[-2000:])
    report: dict[str, Any] = json.loads((output / "report.json").read_bytes())
    return report


def speed(folder: Path, rounds: int, parallel: str) -> dict[int, list[float]]:
    """Tokens a second of one worker and of two, in turns."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers, figures in found.items():
            config = run_file(folder, f"speed-{workers}", workers=workers, parallel=parallel)
            output = folder / f"speed-{parallel}-{workers}-{number}"
            figures.append(finish(start(config, output), output)["tokens_per_second"])
    return found


def _step(output: Path) -> int:
    with suppress(OSError, ValueError):
        return int(json.loads((output / "progress.json").read_bytes())["step"])
    return 0


def _workers(job: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(job.pid).children(recursive=True):
        with suppress(psutil.Error):
            if any("RayTrainWorker" in word for word in child.cmdline()):
                found.append(child)
    return found


def recovery(folder: Path, number: int) -> dict[str, float]:
    """Kill a worker of a private run; how long until it trains again, and how many steps were done for nothing."""
    privacy = {"accountant": "rdp", "population": "benchmark", "block": INTERVAL}
    phase = {"private": True, "epochs": 8, "micro_batch_size": 4}
    changes = {"checkpoint_every_steps": INTERVAL, "workers": 2, "privacy": privacy, "phase": phase}
    config, output = run_file(folder, "recovery", **changes), folder / f"recovery-{number}"
    job = start(config, output)
    while _step(output) < 2 * INTERVAL + 1 and job.poll() is None:
        time.sleep(0.02)
    _workers(job)[0].kill()
    killed = time.monotonic()
    reached = _step(output)
    before = (output / "progress.json").stat().st_mtime_ns
    while (output / "progress.json").stat().st_mtime_ns == before and job.poll() is None:
        time.sleep(0.02)
    seconds = time.monotonic() - killed
    privacy_report = finish(job, output)["privacy"]
    return {"seconds": seconds, "killed at step": reached, "steps lost": privacy_report["steps_unsettled"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind (default: 2)")
    parser.add_argument("--parallel", default="all_reduce", choices=["all_reduce", "ddp", "fsdp"])
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        speeds = speed(folder, options.rounds, options.parallel)
        lost = [recovery(folder, number) for number in range(options.rounds)]
    ratio = statistics.median(speeds[2]) / statistics.median(speeds[1])
    facts = {"cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1), "parallel": options.parallel}
    if options.json:
        print(json.dumps({"tokens_per_second": speeds, "ratio": ratio, "recovery": lost, **facts}))
        return
    table = Table(title=f"Training, {facts}", title_justify="left")
    for column in ("what", "figures"):
        table.add_column(column)
    for workers, figures in speeds.items():
        table.add_row(f"tokens/s, {workers} worker(s)", ", ".join(f"{figure:.0f}" for figure in figures))
    table.add_row("two workers / one, medians", f"{ratio:.2f}")
    for found in lost:
        table.add_row(
            "a worker killed",
            f"at step {found['killed at step']:.0f}: trains again after {found['seconds']:.1f} s, "
            f"{found['steps lost']:.0f} steps counted for nothing (checkpoint interval {INTERVAL})",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
