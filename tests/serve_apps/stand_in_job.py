"""Stands in for a training job in tests of the service: reports progress, keeps a checkpoint, and takes its time.

The run file's one line says how it ends: `run` until it is stopped, `finish`, or `refuse` its input.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from acgs.learning.finetune.progress import Progress, ProgressFile

parser = argparse.ArgumentParser()
for name in ("--config", "--output"):
    parser.add_argument(name, type=Path, required=True)
parser.add_argument("--session", required=True)
arguments = parser.parse_args()

wanted = arguments.config.read_text().strip()
arguments.output.mkdir(parents=True, exist_ok=True)
(arguments.output / "checkpoint").write_text(arguments.session)
progress = ProgressFile(arguments.output / "progress.json")
for step in range(1, 6001):
    progress.write(Progress(phase="sft", progress=step / 6000, step=step, steps=6000), now=True)
    sys.stdout.write(f"step {step}\n")
    sys.stdout.flush()
    if wanted == "finish":
        break
    if wanted == "refuse":
        sys.stderr.write("acgs: the rows hold no answers\n")
        sys.exit(2)
    time.sleep(0.1)
